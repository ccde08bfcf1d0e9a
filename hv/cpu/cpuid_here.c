/* SPDX-License-Identifier: Apache-2.0 */
/* cpuid_here - what a guest may see on this host, without a VM (cpuid.h). */
#include "hv/cpu/cpuid_int.h"

#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int cpuid_here(struct cpuid_table *t, struct err *e)
{
	struct kvm_vm k = { .sys_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	int ret;

	if (k.sys_fd < 0)
		return err_errno(e, "/dev/kvm");
	k.tsc_deadline = kvm_ioctl(k.sys_fd, KVM_CHECK_EXTENSION, (void *)KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	ret = cpuid_host(t, &k, e);
	close(k.sys_fd);
	return ret;
}

/* What the processor calls itself, without the blanks that some put in front of it. */
static void brand_of(const struct cpuid_table *t, char out[CPU_BRAND_MAX + 1])
{
	char raw[CPU_BRAND_MAX + 1] = "";

	for (uint32_t i = 0; i < 3; i++) {
		const struct kvm_cpuid_entry2 *c = cpuid_find(t, 0x80000002 + i, 0);

		if (c)
			memcpy(raw + 16 * i, (const uint32_t[]){ c->eax, c->ebx, c->ecx, c->edx }, 16);
	}
	raw[CPU_BRAND_MAX] = '\0';
	text_copy(out, CPU_BRAND_MAX + 1, raw + strspn(raw, " "));
}

json_t *cpuid_host_json(const struct cpuid_table *t)
{
	char brand[CPU_BRAND_MAX + 1];
	json_t *names = json_array();
	struct cpu_features has;

	brand_of(t, brand);
	cpuid_features(t, &has);
	for (unsigned int i = 0; i < cpu_feature_count(); i++)
		if (cpu_features_has(&has, i) && cpu_feature_at(i)->kind == CPU_FEATURE_PLAIN)
			json_array_append_new(names, json_string(cpu_feature_at(i)->name));
	return json_pack("{s:s, s:s, s:i, s:o}", "vendor", cpuid_vendor(t) ? cpu_vendor_name(cpuid_vendor(t)) : "other",
			 "name", brand, "address_bits", (int)cpuid_address_bits(t), "features", names);
}
