/* SPDX-License-Identifier: Apache-2.0 */
/*
 * executor - see executor.h.
 *
 * The table is a list: a host runs tens of domains.  A VMM that exited is told
 * to the shell and freed from a job of the loop, because the news come from
 * inside the VMM's own callback.
 */
#include "ha/vmm/executor_int.h"
#include "ha/vmm/vmm_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void executor_path(const struct executor *x, const char *name, const char *suffix,
		   char out[EXECUTOR_PATH_MAX])
{
	snprintf(out, EXECUTOR_PATH_MAX, "%.90s/hv/%.63s%.15s", x->run_dir, name, suffix);
}

struct slot *executor_slot_add(struct executor *x)
{
	struct slot *s = calloc(1, sizeof(*s));

	if (s)
		s->x = x;
	return s;
}

/* And its VMM's handle; the VMM lives on. */
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

	assert(x->reap_queued);
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
		executor_path(x, vmm_name(v), ".vnc", path);
		unlink(path);
		executor_path(x, vmm_name(v), ".agent", path);
		unlink(path);
		executor_path(x, vmm_name(v), ".lease", path);
		unlink(path);
		if (!x->reap_queued)
			x->reap_queued = qb_loop_job_add(x->loop, QB_LOOP_MED, x, reap) == 0;
	}
	x->ops->news(x->arg, vmm_name(v), vmm_incarnation(v), n);
	executor_scan_check(x);
}

const struct vmm_ops executor_vmm_ops = { .news = on_news };

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

/* Before each start, not once: a cleaned /run would make this the host on which nothing starts. */
static int make_dirs(const struct executor *x, struct err *e)
{
	char path[PATH_MAX];
	int rc = make_dir(x->run_dir, 0755, e);

	snprintf(path, sizeof(path), "%s/hv", x->run_dir);
	if (rc == 0)
		rc = make_dir(path, 0750, e);
	if (rc == 0)
		rc = make_dir(x->log_dir, 0750, e);
	return rc;
}

void executor_address(struct executor *x, const char *address)
{
	/* IPv6 addresses stand in brackets (net/stream.h). */
	snprintf(x->incoming, sizeof(x->incoming), strchr(address, ':') ? "tcp:[%s]:0" : "tcp:%s:0", address);
}

int executor_open(qb_loop_t *loop, const struct executor_conf *conf,
		  const struct executor_ops *ops, void *arg, struct executor **out, struct err *e)
{
	struct executor *x;
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
	executor_address(x, conf->address);
	rc = make_dirs(x, e);
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
	executor_path(x, name, ".console", path);
}

void executor_control(const struct executor *x, const char *name, char path[EXECUTOR_PATH_MAX])
{
	executor_path(x, name, ".sock", path);
}

json_t *executor_migration(const struct executor *x, const char *name)
{
	return json_object_get(x->migrations, name);
}

struct vmm *executor_hanging(struct executor *x, size_t i)
{
	struct slot *s;

	for (s = x->slots; s; s = s->next)
		if (!s->dead && !vmm_answers(s->vmm) && !i--)
			return s->vmm;
	return NULL;
}

struct vmm *executor_standing(struct executor *x, size_t i)
{
	struct slot *s;

	for (s = x->slots; s; s = s->next)
		if (!s->dead && vmm_answers(s->vmm) && *vmm_stands(s->vmm) && !i--)
			return s->vmm;
	return NULL;
}

size_t executor_count(const struct executor *x)
{
	const struct slot *s;
	size_t n = 0;

	for (s = x->slots; s; s = s->next)
		n += !s->dead;
	return n;
}

/* Made anew: what lies there may be a link to something else, or a FIFO that nobody reads. */
static int write_file(const char *path, const char *text, size_t len, struct err *e)
{
	ssize_t n;
	int fd, rc;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_errno(e, "cannot write %s", path);
	n = write(fd, text, len);
	rc = n < 0 ? -errno : n != (ssize_t)len ? -ENOSPC :
						  0;
	close(fd);
	return rc ? err_set(e, rc, "cannot write %s: %s", path, strerror(-rc)) : 0;
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

	assert(until_ms >= x->until_ms); /* the core's promise: no lease is taken back */
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
		.name = name,
		.incarnation = incarnation,
		.cluster = *x->cluster ? x->cluster : NULL,
		.program = x->drover_hv,
		.conf = yaml,
		.control = control,
		.console = console,
		.lease = lease,
		.life = life,
		.incoming = incoming ? x->incoming : NULL,
		.log = logfile,
	};
	struct slot *s;
	int rc;

	if (executor_find(x, name))
		return err_set(e, -EEXIST, "%s: a VMM runs here already", name);
	executor_path(x, name, ".yaml", yaml);
	executor_path(x, name, ".sock", control);
	executor_path(x, name, ".console", console);
	executor_path(x, name, ".life", life);
	executor_path(x, name, ".lease", lease);
	snprintf(logfile, sizeof(logfile), "%s/%s.log", x->log_dir, name);
	rc = make_dirs(x, e);
	if (rc < 0)
		return rc;
	vmm_log_trim(logfile);
	rc = write_file(yaml, conf, conf_len, e);
	if (rc < 0)
		return rc;
	unlink(control);
	unlink(console);
	s = executor_slot_add(x);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	rc = lease_create(lease, &s->lease, e);
	if (rc == 0)
		rc = vmm_spawn(x->loop, &spawn, &executor_vmm_ops, s, &s->vmm, e);
	if (rc < 0) {
		slot_free(s);
		unlink(lease);
		return rc;
	}
	json_object_del(x->told_ends, name);
	assert(s->vmm && s->lease && !s->dead);
	s->admitted = true;
	lease_publish(s->lease, x->until_ms);
	s->next = x->slots;
	x->slots = s;
	return 0;
}
