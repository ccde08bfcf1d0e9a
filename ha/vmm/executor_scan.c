/* SPDX-License-Identifier: Apache-2.0 */
/*
 * executor_scan - what runs on this host when its daemon starts.
 *
 * Every VMM is found by its life file (conf/vmm_life.h), whatever else of it is there
 * yet: one that has not come to its first instruction, one that answers nobody.  A VMM
 * whose file was removed is found in /proc; it cannot be steered any more and is killed.
 *
 * The scan fails closed: while one file cannot be understood, something listens on a
 * socket that has none, or a VMM without a name still lives, the list is not complete, is
 * looked at again, and nothing is told.  A VMM found alive has SCAN_WAIT_MS to say what it
 * does; after that it counts as starting, which is all that has to be known of it (rule H).
 */
#include "ha/vmm/executor_int.h"
#include "ha/vmm/vmm_process.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/unix_socket.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SCAN_WAIT_MS 1000
#define SCAN_AGAIN_MS 100

static void look_again(void *data);

static void arm_scan(struct executor *x, uint64_t ms)
{
	if (!x->scan_armed && qb_loop_timer_add(x->loop, QB_LOOP_MED, ms * QB_TIME_NS_IN_MSEC, x,
						look_again, &x->scan_timer) == 0)
		x->scan_armed = true;
}

/* Complete, when nothing is unresolved and each has said what it does, or had its time to. */
void executor_scan_check(struct executor *x)
{
	struct slot *s;

	if (!x->scanning)
		return;
	if (x->unresolved) {
		arm_scan(x, SCAN_AGAIN_MS);
		return;
	}
	for (s = x->slots; s; s = s->next) {
		if (s->dead || vmm_known(s->vmm))
			continue;
		if (clock_ms() < x->scan_until_ms) {
			arm_scan(x, x->scan_until_ms - clock_ms());
			return;
		}
		log_warn("%s: alive, pid %d, but silent", vmm_name(s->vmm), vmm_pid(s->vmm));
	}
	x->scanning = false;
	x->ops->scanned(x->arg);
}

/* Something here may live and is not in the table: say so once, and look again. */
static void unresolved(struct executor *x, const char *why)
{
	x->unresolved = true;
	if (!x->told_unresolved)
		log_error("what runs here is not known, so nothing is started and no lease is published: %s", why);
	x->told_unresolved = true;
}

/*
 * It ended while no droverd looked: certainly (but for a copy of its file), and if it said how, a guest that powered
 * itself off does not want to be started again.  A life file stays until the next VMM of that
 * name is started, so that the next daemon tells it again should one die before the cluster knows.
 */
static bool tell_unseen_end(struct executor *x, const char *name, const char *path)
{
	struct vmm_life life;
	int fd, rc;

	if (json_object_get(x->told_ends, name))
		return true;
	fd = vmm_life_open(path, NULL);
	if (fd < 0)
		return false;
	rc = vmm_life_look(fd, &life, NULL);
	close(fd);
	if (rc < 0 || life.lives || life.copy || !life.incarnation)
		return false;
	if (life.end == VMM_END_SILENT)
		life.code = EXIT_FAILURE;
	json_object_set_new(x->told_ends, name, json_true());
	x->ops->news(x->arg, name, life.incarnation,
		     &(struct vmm_news){ .what = VMM_SAID_STATE, .state = VMM_STARTING, .text = "" });
	x->ops->news(x->arg, name, life.incarnation,
		     &(struct vmm_news){ .what = VMM_SAID_EXITED, .state = VMM_EXITED, .end = life.end, .rc = life.code, .text = life.text });
	return true;
}

static void adopt(struct executor *x, const char *name)
{
	struct slot *s = executor_slot_add(x);
	char control[EXECUTOR_PATH_MAX], life[EXECUTOR_PATH_MAX], lease[EXECUTOR_PATH_MAX];
	struct err e = { 0 };
	int rc;

	if (!s) {
		unresolved(x, "out of memory");
		return;
	}
	executor_path(x, name, ".sock", control);
	executor_path(x, name, ".life", life);
	executor_path(x, name, ".lease", lease);
	rc = vmm_adopt(x->loop, name, life, control, &executor_vmm_ops, s, &s->vmm, &e);
	if (rc < 0) {
		free(s);
		if (rc == -ESRCH) {
			unlink(control);
			unlink(lease);
			if (!tell_unseen_end(x, name, life))
				unlink(life);
		} else {
			unresolved(x, e.text);
		}
		return;
	}
	rc = lease_open(lease, &s->lease, &e);
	if (err_is_shortage(rc)) { /* one without a page is killed when it is admitted: not for that */
		vmm_free(s->vmm);
		free(s);
		unresolved(x, e.text);
		return;
	}
	if (rc < 0)
		log_error("%s: %s", name, e.text);
	log_info("%s: found alive, incarnation %" PRIu64 ", pid %d", name, vmm_incarnation(s->vmm),
		 vmm_pid(s->vmm));
	s->next = x->slots;
	x->slots = s;
	/* What is known for sure, before it says more itself. */
	x->ops->news(x->arg, name, vmm_incarnation(s->vmm),
		     &(struct vmm_news){ .what = VMM_SAID_STATE, .state = VMM_STARTING, .text = "" });
}

/* A control socket without a life file: left behind, or a VMM that somebody started by hand. */
static void check_socket(struct executor *x, const char *name)
{
	char control[EXECUTOR_PATH_MAX], life[EXECUTOR_PATH_MAX], why[2 * EXECUTOR_PATH_MAX + 80];
	int fd;

	executor_path(x, name, ".sock", control);
	executor_path(x, name, ".life", life);
	if (access(life, F_OK) == 0 || executor_find(x, name))
		return;
	fd = unix_socket_connect(control, NULL);
	if (fd >= 0)
		close(fd);
	if (fd == -ECONNREFUSED || fd == -ENOENT) {
		unlink(control);
		return;
	}
	snprintf(why, sizeof(why), "%s: somebody listens there, and there is no %s", control, life);
	unresolved(x, why);
}

/* @name of the file NAME@suffix, else false */
static bool name_of(const char *file, const char *suffix, char name[VMM_NAME_MAX + 1])
{
	size_t len = strlen(file), tail = strlen(suffix);

	if (len <= tail || len - tail > VMM_NAME_MAX || strcmp(file + len - tail, suffix) != 0)
		return false;
	memcpy(name, file, len - tail);
	name[len - tail] = '\0';
	return true;
}

/* Its name was removed, so nobody finds it: neither we to steer it nor the next daemon. */
static void on_nameless(void *arg, pid_t pid, int pidfd, const char *name)
{
	struct vmm *known = executor_find(arg, name);
	char why[VMM_NAME_MAX + 96];

	if (known && vmm_pid(known) == pid)
		return;
	vmm_process_kill(pidfd);
	snprintf(why, sizeof(why), "%.63s lives, pid %d, but its life file was removed: it is killed", name, (int)pid);
	unresolved(arg, why);
}

static int look(struct executor *x, struct err *e)
{
	char path[PATH_MAX], name[VMM_NAME_MAX + 1];
	struct dirent *de;
	DIR *d;
	int rc;

	x->unresolved = false;
	snprintf(path, sizeof(path), "%s/hv", x->run_dir);
	d = opendir(path);
	if (!d)
		return err_errno(e, "cannot read %s", path);
	while ((de = readdir(d)) != NULL) {
		if (name_of(de->d_name, ".life", name) && !executor_find(x, name))
			adopt(x, name);
		else if (name_of(de->d_name, ".sock", name))
			check_socket(x, name);
	}
	closedir(d);
	rc = vmm_life_nameless(path, on_nameless, x);
	return rc < 0 ? err_set(e, rc, "cannot look at what lives here: %s", strerror(-rc)) : 0;
}

static void look_again(void *data)
{
	struct executor *x = data;
	struct err e = { 0 };

	x->scan_armed = false;
	if (x->unresolved && look(x, &e) < 0)
		unresolved(x, e.text);
	executor_scan_check(x);
}

static void check_scan_job(void *data)
{
	executor_scan_check(data);
}

int executor_scan(struct executor *x, struct err *e)
{
	int rc = look(x, e);

	if (rc < 0)
		return rc;
	x->scanning = true;
	x->scan_until_ms = clock_ms() + SCAN_WAIT_MS;
	qb_loop_job_add(x->loop, QB_LOOP_MED, x, check_scan_job);
	return 0;
}
