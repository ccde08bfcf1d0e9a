/* SPDX-License-Identifier: Apache-2.0 */
/* pin - see pin.h. */
#include "hv/cpu/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

_Static_assert(CPU_LIST_MAX == CPU_SETSIZE, "a list of the file is a set of the C library");

#define NAMES 100

/* False: nobody knows. */
static bool online(struct cpu_list *out)
{
	int fd = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC);
	char text[CPU_LIST_TEXT] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return cpu_list_read(text, out);
}

static int refuse(const struct cpu_list *missing, uint32_t vcpu, struct err *e)
{
	struct cpu_list off = *missing, on;
	char names[NAMES];

	if (online(&on))
		cpu_list_without(&off, &on);
	else
		memset(&off, 0, sizeof(off));
	if (cpu_list_any(&off))
		return err_set(e, -EPERM, "cpu.pin: vCPU %u cannot run on CPU %s of this host: not online", vcpu,
			       cpu_list_print(&off, names, sizeof(names)));
	return err_set(e, -EPERM, "cpu.pin: vCPU %u cannot run on CPU %s of this host: not in the cpuset of the cgroup that this process is in",
		       vcpu, cpu_list_print(missing, names, sizeof(names)));
}

int pin_read(pthread_t thread, struct cpu_list *out)
{
	cpu_set_t set;
	int ret = pthread_getaffinity_np(thread, sizeof(set), &set);

	memset(out, 0, sizeof(*out));
	for (unsigned int i = 0; i < CPU_LIST_MAX && !ret; i++)
		if (CPU_ISSET(i, &set))
			cpu_list_put(out, i);
	return -ret;
}

int pin_thread(pthread_t thread, const struct cpu_list *cpus, uint32_t vcpu, struct err *e)
{
	struct cpu_list missing = *cpus, got;
	cpu_set_t set;
	int ret;

	CPU_ZERO(&set);
	for (unsigned int i = 0; i < CPU_LIST_MAX; i++)
		if (cpu_list_has(cpus, i))
			CPU_SET(i, &set);
	ret = -pthread_setaffinity_np(thread, sizeof(set), &set);
	if (ret == -EINVAL) /* none of them */
		return refuse(cpus, vcpu, e);
	if (!ret)
		ret = pin_read(thread, &got);
	if (ret)
		return err_set(e, ret, "cpu.pin: vCPU %u: %s", vcpu, strerror(-ret));
	cpu_list_without(&missing, &got);
	return cpu_list_any(&missing) ? refuse(&missing, vcpu, e) : 0;
}
