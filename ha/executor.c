/* SPDX-License-Identifier: Apache-2.0 */
/*
 * executor - see executor.h.
 *
 * The table is a list: a host runs tens of domains.  A VMM that exited is told
 * to the shell and freed from a job of the loop, because the news come from
 * inside the VMM's own callback.
 */
#include "ha/executor.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RUN_DIR_MAX 90   /* as conf/ allows; vmm.c checks that a socket path still fits */

struct slot {
	struct slot *next;
	struct executor *x;
	struct vmm *vmm;
	bool dead;
};

struct executor {
	qb_loop_t *loop;
	const struct executor_ops *ops;
	void *arg;
	char run_dir[RUN_DIR_MAX + 1], state_dir[PATH_MAX / 2], drover_hv[PATH_MAX], lease[PATH_MAX];
	char incoming[128];
	char cluster[17];               /* in hex; "": it has no id yet */
	struct slot *slots;
	json_t *migrations;             /* name -> object; outlives the source's VMM */
	bool scanning, reap_queued;
};

static void hv_path(const struct executor *x, const char *name, const char *suffix,
		    char out[EXECUTOR_PATH_MAX])
{
	snprintf(out, EXECUTOR_PATH_MAX, "%.90s/hv/%.63s%.15s", x->run_dir, name, suffix);
}

static void check_scan(struct executor *x)
{
	struct slot *s;

	if (!x->scanning)
		return;
	for (s = x->slots; s; s = s->next)
		if (!vmm_known(s->vmm))
			return;
	x->scanning = false;
	x->ops->scanned(x->arg);
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
		vmm_free(s->vmm);
		free(s);
	}
}

/* What the VMM wrote last: its one line about why it ended. */
static void last_line(const struct executor *x, const char *name, char *out, size_t size)
{
	const char *colon;
	char path[PATH_MAX], tail[512];
	ssize_t n, end, start;
	struct stat st;
	int fd;

	out[0] = '\0';
	snprintf(path, sizeof(path), "%s/log/%.63s.log", x->state_dir, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (fstat(fd, &st) < 0)
		st.st_size = 0;
	n = pread(fd, tail, sizeof(tail), st.st_size > (off_t)sizeof(tail) ?
		  st.st_size - (off_t)sizeof(tail) : 0);
	close(fd);
	for (end = n; end > 0 && tail[end - 1] == '\n'; end--)
		;
	for (start = end; start > 0 && tail[start - 1] != '\n'; start--)
		;
	/* "drover-hv NAME: error: text": what it says, not who */
	if (end - start > 9 && memcmp(tail + start, "drover-hv", 9) == 0) {
		colon = memmem(tail + start, (size_t)(end - start), ": ", 2);
		start = colon ? colon + 2 - tail : start;
	}
	if (end - start > 7 && memcmp(tail + start, "error: ", 7) == 0)
		start += 7;
	if (end > start)
		snprintf(out, size, "%.*s", (int)(end - start), tail + start);
}

static void on_news(void *arg, struct vmm *v, const struct vmm_news *n)
{
	struct slot *s = arg;
	struct executor *x = s->x;
	struct vmm_news told = *n;
	char path[EXECUTOR_PATH_MAX], line[256];

	if (vmm_migration_json(v))
		json_object_set(x->migrations, vmm_name(v), vmm_migration_json(v));
	if (n->what == VMM_SAID_EXITED) {
		s->dead = true; /* before the news: they may start the next one */
		executor_console(x, vmm_name(v), path);
		unlink(path);
		if (n->rc) {
			last_line(x, vmm_name(v), line, sizeof(line));
			told.text = line;
		}
		if (!x->reap_queued)
			x->reap_queued = qb_loop_job_add(x->loop, QB_LOOP_MED, x, reap) == 0;
	}
	x->ops->news(x->arg, vmm_name(v), vmm_incarnation(v), &told);
	check_scan(x);
}

static const struct vmm_ops vmm_ops = { .news = on_news };

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
	if (!x->migrations) {
		free(x);
		return err_set(e, -ENOMEM, "out of memory");
	}
	x->loop = loop;
	x->ops = ops;
	x->arg = arg;
	snprintf(x->run_dir, sizeof(x->run_dir), "%s", conf->run_dir);
	snprintf(x->state_dir, sizeof(x->state_dir), "%s", conf->state_dir);
	snprintf(x->drover_hv, sizeof(x->drover_hv), "%s", conf->drover_hv);
	snprintf(x->lease, sizeof(x->lease), "%s", conf->lease);
	/* IPv6 addresses stand in brackets (net/stream.h). */
	snprintf(x->incoming, sizeof(x->incoming), strchr(conf->address, ':') ? "tcp:[%s]:0" :
		 "tcp:%s:0", conf->address);
	snprintf(path, sizeof(path), "%s/hv", x->run_dir);
	rc = make_dir(path, 0750, e);
	if (rc == 0) {
		snprintf(path, sizeof(path), "%s/log", x->state_dir);
		rc = make_dir(path, 0750, e);
	}
	if (rc < 0) {
		executor_close(x);
		return rc;
	}
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
	while ((s = x->slots) != NULL) {
		x->slots = s->next;
		vmm_free(s->vmm);
		free(s);
	}
	json_decref(x->migrations);
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

static void adopt(struct executor *x, const char *name)
{
	struct slot *s = slot_add(x);
	char control[EXECUTOR_PATH_MAX];
	struct err e = { 0 };
	int rc;

	if (!s)
		return;
	hv_path(x, name, ".sock", control);
	rc = vmm_adopt(x->loop, name, control, &vmm_ops, s, &s->vmm, &e);
	if (rc < 0) {
		free(s);
		if (rc == -ECONNREFUSED)
			unlink(control); /* left behind by a VMM that was killed */
		else
			log_warn("%s: %s", name, e.text);
		return;
	}
	log_info("%s: found running, pid %d", name, vmm_pid(s->vmm));
	s->next = x->slots;
	x->slots = s;
}

static void check_scan_job(void *data)
{
	check_scan(data);
}

int executor_scan(struct executor *x, struct err *e)
{
	char path[PATH_MAX], name[VMM_NAME_MAX + 1];
	struct dirent *de;
	size_t len;
	DIR *d;

	snprintf(path, sizeof(path), "%s/hv", x->run_dir);
	d = opendir(path);
	if (!d)
		return err_errno(e, "cannot read %s", path);
	while ((de = readdir(d)) != NULL) {
		len = strlen(de->d_name);
		if (len <= 5 || len - 5 > VMM_NAME_MAX || strcmp(de->d_name + len - 5, ".sock") != 0)
			continue;
		memcpy(name, de->d_name, len - 5);
		name[len - 5] = '\0';
		adopt(x, name);
	}
	closedir(d);
	x->scanning = true;
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

int executor_start(struct executor *x, const char *name, uint64_t incarnation, const char *conf,
		   size_t conf_len, bool incoming, struct err *e)
{
	char yaml[EXECUTOR_PATH_MAX], control[EXECUTOR_PATH_MAX], console[EXECUTOR_PATH_MAX];
	char logfile[PATH_MAX];
	struct vmm_spawn spawn = {
		.name = name, .incarnation = incarnation,
		.cluster = *x->cluster ? x->cluster : NULL, .program = x->drover_hv, .conf = yaml,
		.control = control, .console = console, .lease = x->lease,
		.incoming = incoming ? x->incoming : NULL, .log = logfile,
	};
	struct slot *s;
	int rc;

	if (executor_find(x, name))
		return err_set(e, -EEXIST, "%s: a VMM runs here already", name);
	hv_path(x, name, ".yaml", yaml);
	hv_path(x, name, ".sock", control);
	hv_path(x, name, ".console", console);
	snprintf(logfile, sizeof(logfile), "%s/log/%s.log", x->state_dir, name);
	rc = write_file(yaml, conf, conf_len, e);
	if (rc < 0)
		return rc;
	unlink(control);
	unlink(console);
	s = slot_add(x);
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	rc = vmm_spawn(x->loop, &spawn, &vmm_ops, s, &s->vmm, e);
	if (rc < 0) {
		free(s);
		return rc;
	}
	s->next = x->slots;
	x->slots = s;
	return 0;
}
