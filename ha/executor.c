/* SPDX-License-Identifier: Apache-2.0 */
/*
 * executor - see executor.h.
 *
 * The table is a list: a host runs tens of domains.  A VMM that exited is told
 * to the shell and freed from a job of the loop, because the news come from
 * inside the VMM's own callback.
 *
 * The scan finds every VMM by its life file (conf/vmm_life.h), whatever else of it
 * is there yet: one that has not come to its first instruction, one that answers
 * nobody.  A VMM whose file was removed is found in /proc; it cannot be steered any more
 * and is killed.  The scan fails closed: while one file cannot be understood, something listens
 * on a socket that has none, or a VMM without a name still lives, the list is not complete, is
 * looked at again, and nothing is told.  A VMM found alive has SCAN_WAIT_MS to say what it does; after that it
 * counts as starting, which is all that has to be known of it (rule H).
 */
#include "ha/executor.h"
#include "ha/lease.h"
#include "ha/vmm_process.h"
#include "ha/vmm_log.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RUN_DIR_MAX 90   /* as conf/ allows; vmm.c checks that a socket path still fits */
#define SCAN_WAIT_MS 1000
#define SCAN_AGAIN_MS 100

struct slot {
	struct slot *next;
	struct executor *x;
	struct vmm *vmm;
	struct lease *lease;            /* its page, NULL: somebody removed it */
	bool admitted;                  /* the lease of this host goes there */
	bool dead;
};

struct executor {
	qb_loop_t *loop;
	const struct executor_ops *ops;
	void *arg;
	char run_dir[RUN_DIR_MAX + 1], log_dir[PATH_MAX / 2], drover_hv[PATH_MAX];
	uint64_t until_ms;              /* the lease of this host, 0 = none was published yet */
	char incoming[128];
	char cluster[17];               /* in hex; "": it has no id yet */
	struct slot *slots;
	json_t *migrations;             /* name -> object; outlives the source's VMM */
	json_t *told_ends;              /* names whose unseen end this daemon has told */
	bool scanning, reap_queued;
	bool unresolved, told_unresolved; /* something here may be a VMM that is not in the table */
	uint64_t scan_until_ms;
	qb_loop_timer_handle scan_timer;
	bool scan_armed;
	qb_loop_timer_handle log_timer;
	bool log_armed;
};

static void hv_path(const struct executor *x, const char *name, const char *suffix,
		    char out[EXECUTOR_PATH_MAX])
{
	snprintf(out, EXECUTOR_PATH_MAX, "%.90s/hv/%.63s%.15s", x->run_dir, name, suffix);
}

static void look_again(void *data);

static void arm_scan(struct executor *x, uint64_t ms)
{
	if (!x->scan_armed && qb_loop_timer_add(x->loop, QB_LOOP_MED, ms * QB_TIME_NS_IN_MSEC, x,
						look_again, &x->scan_timer) == 0)
		x->scan_armed = true;
}

/* Complete, when nothing is unresolved and each has said what it does, or had its time to. */
static void check_scan(struct executor *x)
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

static void slot_free(struct slot *s)
{
	vmm_free(s->vmm);
	lease_close(s->lease);
	free(s);
}

static void reap(void *data)
{
	struct executor *x = data;
	struct slot **p = &x->slots, *s;

	x->reap_queued = false;
	while ((s = *p) != NULL) {
		if (!s->dead) {
			p = &s->next;
			continue;
		}
		*p = s->next;
		slot_free(s);
	}
}

static void on_news(void *arg, struct vmm *v, const struct vmm_news *n)
{
	struct slot *s = arg;
	struct executor *x = s->x;
	char path[EXECUTOR_PATH_MAX];

	if (vmm_migration_json(v))
		json_object_set(x->migrations, vmm_name(v), vmm_migration_json(v));
	if (n->what == VMM_SAID_EXITED) {
		s->dead = true; /* before the news: they may start the next one */
		executor_console(x, vmm_name(v), path);
		unlink(path);
		hv_path(x, vmm_name(v), ".lease", path);
		unlink(path);
		if (!x->reap_queued)
			x->reap_queued = qb_loop_job_add(x->loop, QB_LOOP_MED, x, reap) == 0;
	}
	x->ops->news(x->arg, vmm_name(v), vmm_incarnation(v), n);
	check_scan(x);
}

static const struct vmm_ops vmm_ops = { .news = on_news };

static void look_at_logs(void *data)
{
	struct executor *x = data;

	vmm_log_trim_all(x->log_dir);
	x->log_armed = qb_loop_timer_add(x->loop, QB_LOOP_LOW, VMM_LOG_LOOK_MS * QB_TIME_NS_IN_MSEC, x,
					 look_at_logs, &x->log_timer) == 0;
}

static int make_dir(const char *path, mode_t mode, struct err *e)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_errno(e, "cannot create %s", path);
	return 0;
}

int executor_open(qb_loop_t *loop, const struct executor_conf *conf,
		  const struct executor_ops *ops, void *arg, struct executor **out, struct err *e)
{
	struct executor *x;
	char path[PATH_MAX];
	int rc;

	*out = NULL;
	if (strlen(conf->run_dir) > RUN_DIR_MAX)
		return err_set(e, -EINVAL, "run directory %s: longer than %d bytes", conf->run_dir,
			       RUN_DIR_MAX);
	x = calloc(1, sizeof(*x));
	if (!x)
		return err_set(e, -ENOMEM, "out of memory");
	x->migrations = json_object();
	x->told_ends = json_object();
	if (!x->migrations || !x->told_ends) {
		json_decref(x->migrations);
		json_decref(x->told_ends);
		free(x);
		return err_set(e, -ENOMEM, "out of memory");
	}
	x->loop = loop;
	x->ops = ops;
	x->arg = arg;
	snprintf(x->run_dir, sizeof(x->run_dir), "%s", conf->run_dir);
	snprintf(x->log_dir, sizeof(x->log_dir), "%s", conf->log_dir);
	snprintf(x->drover_hv, sizeof(x->drover_hv), "%s", conf->drover_hv);
	/* IPv6 addresses stand in brackets (net/stream.h). */
	snprintf(x->incoming, sizeof(x->incoming), strchr(conf->address, ':') ? "tcp:[%s]:0" :
		 "tcp:%s:0", conf->address);
	snprintf(path, sizeof(path), "%s/hv", x->run_dir);
	rc = make_dir(path, 0750, e);
	if (rc == 0)
		rc = make_dir(x->log_dir, 0750, e);
	if (rc < 0) {
		executor_close(x);
		return rc;
	}
	look_at_logs(x);
	*out = x;
	return 0;
}

void executor_close(struct executor *x)
{
	struct slot *s;

	if (!x)
		return;
	if (x->reap_queued)
		qb_loop_job_del(x->loop, QB_LOOP_MED, x, reap);
	if (x->log_armed)
		qb_loop_timer_del(x->loop, x->log_timer);
	if (x->scan_armed)
		qb_loop_timer_del(x->loop, x->scan_timer);
	while ((s = x->slots) != NULL) {
		x->slots = s->next;
		slot_free(s);
	}
	json_decref(x->migrations);
	json_decref(x->told_ends);
	free(x);
}

struct vmm *executor_find(struct executor *x, const char *name)
{
	struct slot *s;

	for (s = x->slots; s; s = s->next)
		if (!s->dead && strcmp(vmm_name(s->vmm), name) == 0)
			return s->vmm;
	return NULL;
}

void executor_console(const struct executor *x, const char *name, char path[EXECUTOR_PATH_MAX])
{
	hv_path(x, name, ".console", path);
}

json_t *executor_migration(const struct executor *x, const char *name)
{
	return json_object_get(x->migrations, name);
}

size_t executor_count(const struct executor *x)
{
	const struct slot *s;
	size_t n = 0;

	for (s = x->slots; s; s = s->next)
		n += !s->dead;
	return n;
}

static struct slot *slot_add(struct executor *x)
{
	struct slot *s = calloc(1, sizeof(*s));

	if (s)
		s->x = x;
	return s;
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
 * It ended while no droverd looked, and said how: a guest that powered itself off does not
 * want to be started again.  Its file stays until the next VMM of that name is started, so
 * that the next daemon tells it again should this one die before the cluster knows.
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
	if (rc < 0 || life.lives || life.end == VMM_END_SILENT || !life.incarnation)
		return false;
	json_object_set_new(x->told_ends, name, json_true());
	x->ops->news(x->arg, name, life.incarnation,
		     &(struct vmm_news){ .what = VMM_SAID_STATE, .state = VMM_STATE_STARTING, .text = "" });
	x->ops->news(x->arg, name, life.incarnation,
		     &(struct vmm_news){ .what = VMM_SAID_EXITED, .state = VMM_STATE_EXITED, .end = life.end,
					 .rc = life.code, .text = life.text });
	return true;
}

static void adopt(struct executor *x, const char *name)
{
	struct slot *s = slot_add(x);
	char control[EXECUTOR_PATH_MAX], life[EXECUTOR_PATH_MAX], lease[EXECUTOR_PATH_MAX];
	struct err e = { 0 };
	int rc;

	if (!s) {
		unresolved(x, "out of memory");
		return;
	}
	hv_path(x, name, ".sock", control);
	hv_path(x, name, ".life", life);
	hv_path(x, name, ".lease", lease);
	rc = vmm_adopt(x->loop, name, life, control, &vmm_ops, s, &s->vmm, &e);
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
	log_info("%s: found alive, incarnation %" PRIu64 ", pid %d", name, vmm_incarnation(s->vmm),
		 vmm_pid(s->vmm));
	if (lease_open(lease, &s->lease, &e) < 0)
		log_error("%s: %s", name, e.text);
	s->next = x->slots;
	x->slots = s;
	/* What is known for sure, before it says more itself. */
	x->ops->news(x->arg, name, vmm_incarnation(s->vmm),
		     &(struct vmm_news){ .what = VMM_SAID_STATE, .state = VMM_STATE_STARTING, .text = "" });
}

/* A control socket without a life file: left behind, or a VMM that somebody started by hand. */
static void check_socket(struct executor *x, const char *name)
{
	char control[EXECUTOR_PATH_MAX], life[EXECUTOR_PATH_MAX], why[2 * EXECUTOR_PATH_MAX + 80];
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd, rc = 0;

	hv_path(x, name, ".sock", control);
	hv_path(x, name, ".life", life);
	if (access(life, F_OK) == 0 || executor_find(x, name))
		return;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%.107s", control);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		rc = -errno;
	if (fd >= 0)
		close(fd);
	if (rc == -ECONNREFUSED || rc == -ENOENT) {
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
static void on_nameless(void *arg, pid_t pid, const char *name)
{
	struct vmm *known = executor_find(arg, name);
	char why[VMM_NAME_MAX + 96];
	int fd;

	if (known && vmm_pid(known) == pid)
		return;
	fd = vmm_process_pidfd(pid);
	if (fd >= 0) {
		vmm_process_kill(fd);
		close(fd);
	}
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
	check_scan(x);
}

static void check_scan_job(void *data)
{
	check_scan(data);
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

static int write_file(const char *path, const char *text, size_t len, struct err *e)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	ssize_t n;

	if (fd < 0)
		return err_errno(e, "cannot write %s", path);
	n = write(fd, text, len);
	close(fd);
	if (n != (ssize_t)len)
		return err_set(e, -EIO, "cannot write %s", path);
	return 0;
}

void executor_cluster(struct executor *x, uint64_t id)
{
	snprintf(x->cluster, sizeof(x->cluster), "%016" PRIx64, id);
	if (!id)
		x->cluster[0] = '\0';
}

void executor_publish(struct executor *x, uint64_t until_ms)
{
	struct slot *s;

	x->until_ms = until_ms;
	for (s = x->slots; s; s = s->next)
		if (s->admitted && s->lease)
			lease_publish(s->lease, until_ms);
}

void executor_admit(struct executor *x, const char *name, uint64_t incarnation, bool on)
{
	struct slot *s;

	for (s = x->slots; s; s = s->next)
		if (!s->dead && strcmp(vmm_name(s->vmm), name) == 0 && vmm_incarnation(s->vmm) == incarnation)
			break;
	if (!s)
		return; /* it has ended; the core hears of it */
	s->admitted = on;
	if (!on && s->lease)
		lease_publish(s->lease, 0);
	else if (on && s->lease && x->until_ms > lease_until_ms(s->lease))
		lease_publish(s->lease, x->until_ms);
	else if (on && !s->lease)
		vmm_kill(s->vmm);
}

int executor_start(struct executor *x, const char *name, uint64_t incarnation, const char *conf,
		   size_t conf_len, bool incoming, struct err *e)
{
	char yaml[EXECUTOR_PATH_MAX], control[EXECUTOR_PATH_MAX], console[EXECUTOR_PATH_MAX];
	char life[EXECUTOR_PATH_MAX], lease[EXECUTOR_PATH_MAX], logfile[PATH_MAX];
	struct vmm_spawn spawn = {
		.name = name, .incarnation = incarnation,
		.cluster = *x->cluster ? x->cluster : NULL, .program = x->drover_hv, .conf = yaml,
		.control = control, .console = console, .lease = lease, .life = life,
		.incoming = incoming ? x->incoming : NULL, .log = logfile,
	};
	struct slot *s;
	int rc;

	if (executor_find(x, name))
		return err_set(e, -EEXIST, "%s: a VMM runs here already", name);
	hv_path(x, name, ".yaml", yaml);
	hv_path(x, name, ".sock", control);
	hv_path(x, name, ".console", console);
	hv_path(x, name, ".life", life);
	hv_path(x, name, ".lease", lease);
	snprintf(logfile, sizeof(logfile), "%s/%s.log", x->log_dir, name);
	vmm_log_trim(logfile);
	rc = write_file(yaml, conf, conf_len, e);
	if (rc < 0)
		return rc;
	unlink(control);
	unlink(console);
	s = slot_add(x);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	rc = lease_create(lease, &s->lease, e);
	if (rc == 0)
		rc = vmm_spawn(x->loop, &spawn, &vmm_ops, s, &s->vmm, e);
	if (rc < 0) {
		slot_free(s);
		unlink(lease);
		return rc;
	}
	json_object_del(x->told_ends, name);
	s->admitted = true;
	lease_publish(s->lease, x->until_ms);
	s->next = x->slots;
	x->slots = s;
	return 0;
}
