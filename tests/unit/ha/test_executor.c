/* SPDX-License-Identifier: Apache-2.0 */
/*
 * executor and vmm: real processes (fake_hv.c) behind the real control socket.
 */
#include "ha/vmm/executor.h"

#include "base/clock.h"
#include "conf/lease_page.h"
#include "ha/core/timing.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#define DEADLINE_MS 30000

struct bed {
	qb_loop_t *loop;
	char dir[64], log_dir[80];
	struct executor *x;
	struct executor_conf conf;
	struct err e;
	/* the last of each kind of news */
	int said[8];
	struct vmm_news last;
	char listen[64], text[256];
	int scans;
	/* what run() waits for */
	enum vmm_what what;
	enum vmm_state state;
	bool want_scan, came;
};

static void on_news(void *arg, const char *name, uint64_t incarnation, const struct vmm_news *n)
{
	struct bed *b = arg;

	b->said[n->what]++;
	b->last = *n;
	snprintf(b->text, sizeof(b->text), "%s", n->text);
	if (n->listen)
		snprintf(b->listen, sizeof(b->listen), "%s", n->listen);
	if (!b->want_scan && n->what == b->what &&
	    (n->what != VMM_SAID_STATE || n->state == b->state)) {
		b->came = true;
		qb_loop_stop(b->loop);
	}
}

static void on_scanned(void *arg)
{
	struct bed *b = arg;

	b->scans++;
	if (b->want_scan) {
		b->came = true;
		qb_loop_stop(b->loop);
	}
}

static const struct executor_ops ops = { .news = on_news, .scanned = on_scanned };

static void on_deadline(void *data)
{
	qb_loop_stop(((struct bed *)data)->loop);
}

static void nothing(void *data)
{
}

static void run(struct bed *b)
{
	qb_loop_timer_handle t;

	b->came = false;
	/* A timer that was due when the loop was stopped is not looked at until something wakes it: what comes first. */
	qb_loop_job_add(b->loop, QB_LOOP_HIGH, b, nothing);
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, DEADLINE_MS * QB_TIME_NS_IN_MSEC, b, on_deadline, &t);
	qb_loop_run(b->loop);
	qb_loop_timer_del(b->loop, t);
	b->want_scan = false;
	assert_true(b->came);
}

static void wait_for(struct bed *b, enum vmm_what what, enum vmm_state state)
{
	b->what = what;
	b->state = state;
	run(b);
}

static void open_executor(struct bed *b)
{
	assert_int_equal(executor_open(b->loop, &b->conf, &ops, b, &b->x, &b->e), 0);
	assert_int_equal(executor_scan(b->x, &b->e), 0);
	b->want_scan = true;
	run(b);
}

static int setup(void **state)
{
	struct bed *b = calloc(1, sizeof(*b));

	strcpy(b->dir, "/tmp/drover-executor-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	b->loop = qb_loop_create();
	snprintf(b->log_dir, sizeof(b->log_dir), "%s/log", b->dir);
	b->conf = (struct executor_conf){ .run_dir = b->dir, .log_dir = b->log_dir, .drover_hv = FAKE_HV, .address = "127.0.0.1" };
	open_executor(b);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bed *b = *state;
	char cmd[128];
	struct vmm *v = b->x ? executor_find(b->x, "web") : NULL;

	if (v)
		vmm_kill(v);
	executor_close(b->x);
	qb_loop_destroy(b->loop);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", b->dir);
	assert_int_equal(system(cmd), 0);
	free(b);
	return 0;
}

static void start(struct bed *b, const char *text, bool incoming)
{
	assert_int_equal(executor_start(b->x, "web", 3, text, strlen(text), incoming, &b->e), 0);
}

static void a_vmm_that_starts_is_told_as_running_with_its_incarnation(void **state)
{
	struct bed *b = *state;

	start(b, "name: web\n", false);
	assert_int_equal(executor_count(b->x), 1);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	assert_int_equal(vmm_incarnation(executor_find(b->x, "web")), 3);
	assert_int_equal(executor_start(b->x, "web", 4, "", 0, false, &b->e), -EEXIST);
}

static void a_vmm_that_fails_gives_its_exit_code_and_its_last_line(void **state)
{
	struct bed *b = *state;

	start(b, "fails", false);
	wait_for(b, VMM_SAID_EXITED, 0);
	assert_int_equal(b->last.end, VMM_END_FAILED);
	assert_int_equal(b->last.rc, 3);
	assert_string_equal(b->text, "no such kernel");
	assert_null(executor_find(b->x, "web"));
}

static void a_vmm_that_does_not_answer_is_told(void **state)
{
	struct bed *b = *state;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	assert_null(executor_hanging(b->x, 0));
	kill(vmm_pid(executor_find(b->x, "web")), SIGSTOP);
	wait_for(b, VMM_SAID_HANGS, 0);
	assert_ptr_equal(executor_hanging(b->x, 0), executor_find(b->x, "web"));
	assert_null(executor_hanging(b->x, 1));
	kill(vmm_pid(executor_find(b->x, "web")), SIGCONT);
	wait_for(b, VMM_SAID_ANSWERS, 0);
	assert_null(executor_hanging(b->x, 0));
	assert_int_equal(b->said[VMM_SAID_HANGS], 1);
}

static const struct lease_page *page_of(struct bed *b)
{
	char path[96];
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/hv/web.lease", b->dir);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	p = mmap(NULL, LEASE_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(p != MAP_FAILED);
	close(fd);
	return p;
}

static void the_lease_goes_to_those_who_are_admitted(void **state)
{
	const uint64_t until = clock_ms() + 5000;
	struct bed *b = *state;
	const struct lease_page *p;

	executor_publish(b->x, until);
	start(b, "name: web\n", false);
	p = page_of(b);
	assert_true(lease_page_until(p) == until * NS_PER_MS);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	executor_admit(b->x, "web", 2, false); /* another one */
	assert_true(lease_page_until(p) == until * NS_PER_MS);
	executor_admit(b->x, "web", 3, false);
	assert_true(lease_page_until(p) == 0);
	executor_publish(b->x, until + 100);
	assert_true(lease_page_until(p) == 0);
	executor_admit(b->x, "web", 3, true);
	assert_true(lease_page_until(p) == (until + 100) * NS_PER_MS);
}

static void a_new_daemon_publishes_to_nobody_before_it_admits(void **state)
{
	const uint64_t until = clock_ms() + 5000;
	struct bed *b = *state;
	const struct lease_page *p;

	executor_publish(b->x, until);
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	p = page_of(b);
	executor_close(b->x);
	open_executor(b);
	assert_true(lease_page_until(p) == until * NS_PER_MS); /* as it was left */
	executor_publish(b->x, until + 100);
	assert_true(lease_page_until(p) == until * NS_PER_MS);
	executor_admit(b->x, "web", 3, true);
	assert_true(lease_page_until(p) == (until + 100) * NS_PER_MS);
}

/* It could only stay gated, on a host that thinks it runs. */
static void who_lost_its_page_is_killed_when_it_is_admitted(void **state)
{
	struct bed *b = *state;
	char path[96];

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	executor_close(b->x);
	snprintf(path, sizeof(path), "%s/hv/web.lease", b->dir);
	assert_int_equal(unlink(path), 0);
	open_executor(b);
	executor_admit(b->x, "web", 3, true);
	wait_for(b, VMM_SAID_EXITED, 0);
	assert_true(b->last.killed);
}

static void a_missing_program_is_an_error_of_the_start(void **state)
{
	struct bed *b = *state;

	executor_close(b->x);
	b->conf.drover_hv = "/nonexistent/drover-hv";
	open_executor(b);
	assert_int_equal(executor_start(b->x, "web", 1, "", 0, false, &b->e), -ENOENT);
	assert_non_null(strstr(b->e.text, "/nonexistent/drover-hv"));
	assert_int_equal(executor_count(b->x), 0);
}

static void an_incoming_vmm_is_told_with_the_address_it_listens_at(void **state)
{
	struct bed *b = *state;

	start(b, "name: web\n", true);
	wait_for(b, VMM_SAID_STATE, VMM_INCOMING);
	assert_string_equal(b->listen, "tcp:127.0.0.1:4242");
}

/* Somebody cleaned /run. What ran there is another story; what is started now must start. */
static void a_start_makes_the_directories_it_needs(void **state)
{
	struct bed *b = *state;
	char hv[300], gone[310];

	snprintf(hv, sizeof(hv), "%s/hv", b->dir);
	snprintf(gone, sizeof(gone), "%s.gone", hv);
	assert_int_equal(rename(hv, gone), 0);
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	rmdir(gone);
}

/* corosync.conf was changed and read again: this host has another ring0_addr. */
static void an_incoming_vmm_listens_at_todays_address(void **state)
{
	struct bed *b = *state;

	executor_address(b->x, "fd00::2");
	start(b, "name: web\n", true);
	wait_for(b, VMM_SAID_STATE, VMM_INCOMING);
	assert_string_equal(b->listen, "tcp:[fd00::2]:4242");
}

static void a_stop_that_was_asked_for_ends_with_zero(void **state)
{
	struct bed *b = *state;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	vmm_stop(executor_find(b->x, "web"), false, 5000);
	wait_for(b, VMM_SAID_EXITED, 0);
	assert_int_equal(b->last.end, VMM_END_POWEROFF);
	assert_int_equal(b->last.rc, 0);
}

/* Whoever cannot be told now, or may not stop now, is told when he can: a guest that nobody asked would lose what it has not written. */
static void a_stop_that_did_not_arrive_is_said_again(void **state)
{
	static const char *const texts[] = { "granted", "slow" };
	struct bed *b = *state;

	for (int i = 0; i < 2; i++) {
		start(b, texts[i], false);
		if (i == 0)
			wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
		vmm_stop(executor_find(b->x, "web"), false, 5000);
		wait_for(b, VMM_SAID_EXITED, 0);
		assert_int_equal(b->last.end, VMM_END_POWEROFF);
		assert_false(b->last.killed);
	}
}

static void a_deaf_vmm_is_killed_when_its_time_is_over(void **state)
{
	struct bed *b = *state;

	start(b, "deaf", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	vmm_stop(executor_find(b->x, "web"), true, 0);
	wait_for(b, VMM_SAID_EXITED, 0);
	assert_int_equal(b->last.end, VMM_END_SILENT);
	assert_true(b->last.killed);
}

static void a_vmm_that_is_shot_ends_with_its_signal(void **state)
{
	struct bed *b = *state;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	kill(vmm_pid(executor_find(b->x, "web")), SIGKILL);
	wait_for(b, VMM_SAID_EXITED, 0);
	assert_int_equal(b->last.rc, 128 + SIGKILL);
	assert_int_equal(b->last.end, VMM_END_SILENT);
	assert_false(b->last.killed);
}

static void a_vmm_outlives_its_supervisor_and_is_adopted(void **state)
{
	struct bed *b = *state;
	pid_t pid;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	pid = vmm_pid(executor_find(b->x, "web"));
	executor_close(b->x);
	memset(b->said, 0, sizeof(b->said));
	open_executor(b);
	assert_int_equal(b->said[VMM_SAID_STATE], 2); /* told before the scan was over: alive, then running */
	assert_int_equal(vmm_pid(executor_find(b->x, "web")), pid);
	assert_int_equal(vmm_incarnation(executor_find(b->x, "web")), 3);
	vmm_stop(executor_find(b->x, "web"), false, 5000);
	wait_for(b, VMM_SAID_EXITED, 0);
	assert_int_equal(b->last.rc, 0);
}

static void a_socket_that_nobody_listens_on_is_removed(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct bed *b = *state;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	executor_close(b->x);
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s/hv/old.sock", b->dir);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(fd);
	open_executor(b);
	assert_int_equal(access(sa.sun_path, F_OK), -1);
	assert_int_equal(executor_count(b->x), 0);
}

/* However it got so long: its end is kept once, and it begins anew under the VMM that writes it. */
static void a_log_that_has_grown_is_cut(void **state)
{
	struct bed *b = *state;
	char path[128], older[136], line[512];
	struct stat st;
	FILE *f;

	snprintf(path, sizeof(path), "%s/web.log", b->log_dir);
	snprintf(older, sizeof(older), "%s.1", path);
	f = fopen(path, "a");
	memset(line, 'x', sizeof(line));
	for (int i = 0; i < 3 * 2048; i++)
		fwrite(line, sizeof(line), 1, f);
	fputs("the end\n", f);
	fflush(f);
	start(b, "name: web\n", false);
	assert_int_equal(stat(older, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	fputs("and on\n", f);
	fclose(f);
	assert_int_equal(stat(path, &st), 0);
	assert_in_range(st.st_size, 7, 4096);
}

/* droverd's disk is full, or read-only: the domain can run all the same. */
static void a_log_that_cannot_be_opened_keeps_nobody_from_running(void **state)
{
	struct bed *b = *state;
	char log[128];

	snprintf(log, sizeof(log), "%s/web.log", b->log_dir);
	assert_int_equal(mkdir(log, 0700), 0);
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
}

/* One that is opened in the way of a file waits, and leases are not renewed meanwhile. */
static void a_fifo_in_place_of_a_file_is_not_waited_for(void **state)
{
	char yaml[128], log[128], older[136], target[128], text[16] = "";
	struct bed *b = *state;
	struct stat st;
	FILE *f;

	alarm(20);
	snprintf(yaml, sizeof(yaml), "%s/hv/web.yaml", b->dir);
	snprintf(target, sizeof(target), "%s/other", b->dir);
	snprintf(log, sizeof(log), "%s/web.log", b->log_dir);
	snprintf(older, sizeof(older), "%s.1", log);
	assert_int_equal(mkfifo(log, 0600), 0);
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	vmm_kill(executor_find(b->x, "web"));
	wait_for(b, VMM_SAID_EXITED, 0);
	unlink(log);

	assert_int_equal(mkfifo(older, 0600), 0);
	f = fopen(log, "w");
	assert_int_equal(ftruncate(fileno(f), 2 << 20), 0);
	fclose(f);
	unlink(yaml);
	assert_int_equal(mkfifo(yaml, 0600), 0);
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	assert_int_equal(stat(yaml, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(stat(older, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	vmm_kill(executor_find(b->x, "web"));
	wait_for(b, VMM_SAID_EXITED, 0);

	/* nor is anything written through a link */
	f = fopen(target, "w");
	fputs("kept", f);
	fclose(f);
	unlink(yaml);
	assert_int_equal(symlink(target, yaml), 0);
	start(b, "name: web\n", false);
	f = fopen(target, "r");
	assert_non_null(fgets(text, sizeof(text), f));
	assert_string_equal(text, "kept");
	fclose(f);
	alarm(0);
}

/* The supervisor again, as after its death; its VMMs live on. */
static void restart(struct bed *b)
{
	executor_close(b->x);
	memset(b->said, 0, sizeof(b->said));
	open_executor(b);
}

/* Between exec and its socket (rule H): the list is not complete without it. */
static void a_vmm_that_does_not_listen_yet_is_found(void **state)
{
	struct bed *b = *state;
	pid_t pid;

	start(b, "slow", false);
	pid = vmm_pid(executor_find(b->x, "web"));
	restart(b);
	assert_int_equal(b->scans, 2);
	assert_non_null(executor_find(b->x, "web"));
	assert_int_equal(vmm_pid(executor_find(b->x, "web")), pid);
	assert_int_equal(vmm_incarnation(executor_find(b->x, "web")), 3);
	assert_int_equal(b->said[VMM_SAID_STATE], 1);
	assert_int_equal(b->last.state, VMM_STARTING);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
}

/* A daemon that finds web.7, which ended while nobody looked. */
static void find_ended(struct bed *b, enum vmm_end how)
{
	struct err e = { 0 };
	char path[128];
	int fd;

	executor_close(b->x);
	snprintf(path, sizeof(path), "%s/hv/web.life", b->dir);
	assert_int_equal(vmm_life_begin(path, 7, &fd, &e), 0);
	if (how != VMM_END_SILENT)
		vmm_life_end(fd, how, 0, "power button");
	close(fd);
	memset(b->said, 0, sizeof(b->said));
	open_executor(b);
}

/* Its guest powered off while no droverd looked: how it ended is told, and told before the list is complete. */
static void an_end_that_nobody_saw_is_told_by_the_next_daemon(void **state)
{
	struct bed *b = *state;

	find_ended(b, VMM_END_POWEROFF);
	assert_int_equal(b->said[VMM_SAID_STATE], 1);
	assert_int_equal(b->said[VMM_SAID_EXITED], 1);
	assert_int_equal(b->last.end, VMM_END_POWEROFF);
	assert_null(executor_find(b->x, "web"));
	restart(b); /* it may have died before the cluster knew */
	assert_int_equal(b->said[VMM_SAID_EXITED], 1);
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
}

/* A daemon that dies before the cluster knew what it had heard: the next one tells it again. */
static void an_end_is_told_again_by_the_next_daemon(void **state)
{
	struct bed *b = *state;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	vmm_stop(executor_find(b->x, "web"), false, 5000);
	wait_for(b, VMM_SAID_EXITED, 0);
	restart(b);
	assert_int_equal(b->said[VMM_SAID_EXITED], 1);
	assert_int_equal(b->last.end, VMM_END_POWEROFF);
}

/* That it ended is certain, though it could not say how: nobody need wait for its lease. */
static void a_silent_end_is_told_by_the_next_daemon(void **state)
{
	struct bed *b = *state;

	find_ended(b, VMM_END_SILENT);
	assert_int_equal(b->said[VMM_SAID_EXITED], 1);
	assert_int_equal(b->last.end, VMM_END_SILENT);
	assert_int_not_equal(b->last.rc, 0);
}

/* Somebody who only looks at the file is not who lives in it, and never killed for it. */
static void whoever_reads_a_life_file_does_not_live_in_it(void **state)
{
	struct bed *b = *state;
	char path[128];
	pid_t pid;
	int fd;

	start(b, "mute", false);
	pid = vmm_pid(executor_find(b->x, "web"));
	snprintf(path, sizeof(path), "%s/hv/web.life", b->dir);
	fd = vmm_life_open(path, NULL);
	assert_true(fd >= 0);
	assert_int_equal(vmm_life_holder(fd, getpid()), pid);
	close(fd);
}

static void remove_files(struct bed *b)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -f %s/hv/*", b->dir);
	assert_int_equal(system(cmd), 0);
}

/* Somebody cleans /run: the lock tells that it lives, the name does not. */
static void a_vmm_whose_files_are_removed_is_not_dead(void **state)
{
	struct bed *b = *state;
	pid_t pid;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	pid = vmm_pid(executor_find(b->x, "web"));
	remove_files(b);
	assert_int_equal(executor_start(b->x, "web", 4, "", 0, false, &b->e), -EEXIST);
	assert_int_equal(kill(pid, 0), 0);
	vmm_kill(executor_find(b->x, "web"));
	wait_for(b, VMM_SAID_EXITED, 0);
}

/* ... and the next daemon finds it by that lock.  It cannot be steered, so it must not live on. */
/* The run directory is another one from now on, and somebody has copied what was in the old one. */
static void a_copy_of_a_life_file_says_nothing_of_its_vmm(void **state)
{
	struct bed *b = *state;
	char cmd[256], moved[80];
	pid_t pid;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	pid = vmm_pid(executor_find(b->x, "web"));
	executor_close(b->x);
	b->x = NULL;
	snprintf(moved, sizeof(moved), "%s/run", b->dir);
	snprintf(cmd, sizeof(cmd), "mkdir %s && cp -a %s/hv %s/hv", moved, b->dir, moved);
	assert_int_equal(system(cmd), 0);
	b->conf.run_dir = moved;
	open_executor(b);
	assert_int_equal(kill(pid, 0), 0);
	assert_int_equal(b->said[VMM_SAID_EXITED], 0); /* absent: nobody knows (ha/core/report.c) */
	assert_null(executor_find(b->x, "web"));
	executor_close(b->x);
	/* Where it is, it is found. */
	b->conf.run_dir = b->dir;
	open_executor(b);
	assert_int_equal(vmm_pid(executor_find(b->x, "web")), pid);
	assert_int_equal(b->said[VMM_SAID_EXITED], 0);
}

static void a_vmm_without_a_name_is_killed_before_the_list_is_complete(void **state)
{
	struct bed *b = *state;
	pid_t pid;

	start(b, "mute", false);
	pid = vmm_pid(executor_find(b->x, "web"));
	executor_close(b->x);
	remove_files(b);
	open_executor(b);
	assert_int_equal(waitpid(pid, NULL, WNOHANG), pid);
	assert_null(executor_find(b->x, "web"));
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
}

/* What answers nobody holds nobody up, can be killed, and is not replaced before it is dead. */
static void a_mute_vmm_is_found_and_can_be_killed(void **state)
{
	struct bed *b = *state;

	start(b, "mute", false);
	restart(b);
	assert_int_equal(executor_start(b->x, "web", 4, "", 0, false, &b->e), -EEXIST);
	vmm_kill(executor_find(b->x, "web"));
	wait_for(b, VMM_SAID_EXITED, 0);
	assert_true(b->last.killed);
	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
}

/* The pid in the file belongs to somebody else by now: the kernel says who holds the life. */
static void a_recycled_pid_is_never_taken_for_a_vmm(void **state)
{
	struct bed *b = *state;
	char path[128];
	pid_t pid;
	FILE *f;

	start(b, "mute", false);
	pid = vmm_pid(executor_find(b->x, "web"));
	executor_close(b->x);
	snprintf(path, sizeof(path), "%s/hv/web.life", b->dir);
	f = fopen(path, "a");
	fprintf(f, "pid %d\n", (int)getpid());
	fclose(f);
	open_executor(b);
	assert_int_equal(vmm_pid(executor_find(b->x, "web")), pid);
	vmm_kill(executor_find(b->x, "web"));
	wait_for(b, VMM_SAID_EXITED, 0);
}

/* A daemon that finds web's life file spoilt; in the end it knows that there is no such VMM. */
static void find_spoilt(struct bed *b)
{
	char path[128];
	FILE *f;

	executor_close(b->x);
	b->scans = 0;
	snprintf(path, sizeof(path), "%s/hv/web.life", b->dir);
	f = fopen(path, "w");
	fputs("rubbish\n", f);
	fclose(f);
	open_executor(b);
	assert_int_equal(b->scans, 1);
	assert_null(executor_find(b->x, "web"));
}

/* The lock alone says that it lives; whoever spoilt the text of one that ended stops nobody. */
static void a_spoilt_life_file_of_nobody_is_no_life(void **state)
{
	find_spoilt(*state);
}

/* A VMM has its life file open, and one that was taken over may write what it likes there. */
static void a_vmm_that_spoils_its_life_file_is_ended(void **state)
{
	struct bed *b = *state;
	int status;
	pid_t pid;

	start(b, "mute", false);
	pid = vmm_pid(executor_find(b->x, "web"));
	assert_true(pid > 0);
	find_spoilt(b);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* What is no file may be anything: nothing is told until somebody looks. */
static void a_scan_that_cannot_know_is_not_complete(void **state)
{
	struct bed *b = *state;
	char path[128];

	executor_close(b->x);
	b->scans = 0;
	snprintf(path, sizeof(path), "%s/hv/web.life", b->dir);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(executor_open(b->loop, &b->conf, &ops, b, &b->x, &b->e), 0);
	assert_int_equal(executor_scan(b->x, &b->e), 0);
	for (int i = 0; i < 3; i++) {
		qb_loop_timer_handle t;

		qb_loop_timer_add(b->loop, QB_LOOP_LOW, 500 * QB_TIME_NS_IN_MSEC, b, on_deadline, &t);
		qb_loop_run(b->loop);
	}
	assert_int_equal(b->scans, 0);
	assert_int_equal(rmdir(path), 0);
	b->want_scan = true;
	run(b);
	assert_int_equal(b->scans, 1);
}

static bool no_room;
int __wrap_posix_fallocate64(int fd, off_t offset, off_t len);
int __real_posix_fallocate64(int fd, off_t offset, off_t len);

int __wrap_posix_fallocate64(int fd, off_t offset, off_t len)
{
	return no_room ? ENOMEM : __real_posix_fallocate64(fd, offset, len);
}

/* Without its page it would be killed when it is admitted. */
static void a_page_that_cannot_be_had_now_is_waited_for(void **state)
{
	struct bed *b = *state;
	qb_loop_timer_handle t;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	executor_close(b->x);
	b->scans = 0;
	no_room = true;
	assert_int_equal(executor_open(b->loop, &b->conf, &ops, b, &b->x, &b->e), 0);
	assert_int_equal(executor_scan(b->x, &b->e), 0);
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, 1500 * QB_TIME_NS_IN_MSEC, b, on_deadline, &t);
	qb_loop_run(b->loop);
	assert_int_equal(b->scans, 0);
	no_room = false;
	b->want_scan = true;
	run(b);
	executor_admit(b->x, "web", 3, true);
	assert_non_null(executor_find(b->x, "web"));
	executor_publish(b->x, clock_ms() + 5000);
	assert_true(lease_page_until(page_of(b)) > clock_ns());
}

/* What listens behind its socket is not what was started: never believed, whatever it says. */
static void a_hello_with_another_incarnation_is_not_believed(void **state)
{
	struct bed *b = *state;
	qb_loop_timer_handle t;

	start(b, "other", false);
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, 1000 * QB_TIME_NS_IN_MSEC, b, on_deadline, &t);
	qb_loop_run(b->loop);
	assert_int_equal(b->said[VMM_SAID_STATE], 0);
	assert_int_equal(vmm_incarnation(executor_find(b->x, "web")), 3);
}

/* ... in its hello or behind it. */
static void what_follows_a_wrong_hello_is_not_believed(void **state)
{
	struct bed *b = *state;
	qb_loop_timer_handle t;

	start(b, "other talks", false);
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, 1000 * QB_TIME_NS_IN_MSEC, b, on_deadline, &t);
	qb_loop_run(b->loop);
	assert_int_equal(b->said[VMM_SAID_STATE], 0);
}

/* What a VMM invents would be kept for as long as it lives, one more with each event. */
static void of_an_event_only_what_is_used_is_kept(void **state)
{
	struct bed *b = *state;
	json_t *query;

	start(b, "talks", false);
	wait_for(b, VMM_SAID_STATE, VMM_PAUSED);
	assert_true(b->last.held);
	assert_string_equal(b->last.stands, "");
	query = vmm_query_json(executor_find(b->x, "web"));
	assert_string_equal(json_string_value(json_object_get(query, "why")), "operator");
	assert_null(json_object_get(query, "invented"));
}

/* Nobody asked for it, and nobody but the VMM knows: the reason is passed on, as it is. */
static void why_it_stands_still_is_known(void **state)
{
	struct bed *b = *state;

	start(b, "full", false);
	wait_for(b, VMM_SAID_STATE, VMM_PAUSED);
	assert_false(b->last.held);
	assert_string_equal(b->last.stands, "disk /srv/web.img: No space left on device");
	assert_ptr_equal(executor_standing(b->x, 0), executor_find(b->x, "web"));
	assert_null(executor_standing(b->x, 1));
}

/* A guest may reset itself as often as it likes: the host's log is not its to fill. */
/* The connection to "web", as if its VMM had ended it. */
static void cut_control(struct bed *b)
{
	struct sockaddr_un sa;
	socklen_t len;
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/hv/web.sock", b->dir);
	for (fd = 3; fd < 256; fd++) {
		len = sizeof(sa);
		if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0 && sa.sun_family == AF_UNIX && !strcmp(sa.sun_path, path))
			break;
	}
	assert_true(fd < 256);
	shutdown(fd, SHUT_RDWR);
}

/* Its VMM is well: it is this process that cannot make a socket. */
static void what_we_lack_is_no_sign_of_its_death(void **state)
{
	struct rlimit was, none;
	qb_loop_timer_handle t;
	struct bed *b = *state;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = (struct rlimit){ 3, was.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	cut_control(b);
	b->what = VMM_SAID_EXITED;
	qb_loop_timer_add(b->loop, QB_LOOP_LOW, (HA_CONTROL_MS + 500) * QB_TIME_NS_IN_MSEC, b, on_deadline, &t);
	qb_loop_run(b->loop);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(b->said[VMM_SAID_EXITED], 0);
	assert_non_null(executor_find(b->x, "web"));
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING); /* heard again */
}

static void a_guest_does_not_fill_the_log(void **state)
{
	int saved = dup(STDERR_FILENO), lines = 0;
	struct bed *b = *state;
	FILE *log = tmpfile();
	char line[256];

	fflush(stderr);
	dup2(fileno(log), STDERR_FILENO);
	start(b, "resets", false);
	wait_for(b, VMM_SAID_STATE, VMM_PAUSED);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(log);
	while (fgets(line, sizeof(line), log))
		lines += strstr(line, "guest reset") != NULL;
	fclose(log);
	assert_in_range(lines, 1, 40);
}

static void a_migration_that_fails_is_told_with_its_reason(void **state)
{
	struct bed *b = *state;

	start(b, "name: web\n", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	vmm_migrate(executor_find(b->x, "web"), "tcp:127.0.0.1:1", 4, 2000, false);
	wait_for(b, VMM_SAID_MIGRATE_FAILED, 0);
	assert_string_equal(b->text, "peer is not there");
	assert_int_equal(b->said[VMM_SAID_PROGRESS], 1);
	assert_string_equal(json_string_value(json_object_get(executor_migration(b->x, "web"), "phase")),
			    "failed");
}

static void a_question_is_handed_on_and_its_answer_given(void **state)
{
	struct bed *b = *state;

	start(b, "asks", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	vmm_migrate(executor_find(b->x, "web"), "tcp:127.0.0.1:1", 4, 2000, false);
	wait_for(b, VMM_SAID_ASK_ABORT, 0);
	assert_int_equal(b->last.incarnation, 4);
	/* the source wins: the cluster names 3, the VMM knows the question by 4 */
	vmm_decide(executor_find(b->x, "web"), false, 3);
	wait_for(b, VMM_SAID_STATE, VMM_PAUSED);
}

/* The next daemon gives the order that the last one gave: the migration goes on, and its outcome arrives. */
static void a_migration_goes_on_when_its_daemon_is_restarted(void **state)
{
	struct bed *b = *state;

	start(b, "asks", false);
	wait_for(b, VMM_SAID_STATE, VMM_RUNNING);
	vmm_migrate(executor_find(b->x, "web"), "tcp:127.0.0.1:1", 4, 2000, false);
	wait_for(b, VMM_SAID_ASK_ABORT, 0);
	restart(b);
	vmm_migrate(executor_find(b->x, "web"), "tcp:127.0.0.1:1", 4, 2000, false);
	vmm_decide(executor_find(b->x, "web"), false, 3);
	wait_for(b, VMM_SAID_STATE, VMM_PAUSED);
	assert_int_equal(b->said[VMM_SAID_MIGRATE_FAILED], 0);
	/* Another one is another order, and refused by the VMM. */
	vmm_migrate(executor_find(b->x, "web"), "tcp:127.0.0.1:1", 5, 2000, false);
	wait_for(b, VMM_SAID_MIGRATE_FAILED, 0);
	assert_string_equal(b->text, "a migration is under way");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_vmm_that_starts_is_told_as_running_with_its_incarnation),
		T(a_vmm_that_fails_gives_its_exit_code_and_its_last_line),
		T(a_vmm_that_does_not_answer_is_told),
		T(the_lease_goes_to_those_who_are_admitted),
		T(a_new_daemon_publishes_to_nobody_before_it_admits),
		T(who_lost_its_page_is_killed_when_it_is_admitted),
		T(a_missing_program_is_an_error_of_the_start),
		T(an_incoming_vmm_is_told_with_the_address_it_listens_at),
		T(a_start_makes_the_directories_it_needs),
		T(an_incoming_vmm_listens_at_todays_address),
		T(a_stop_that_was_asked_for_ends_with_zero),
		T(a_stop_that_did_not_arrive_is_said_again),
		T(a_deaf_vmm_is_killed_when_its_time_is_over),
		T(a_vmm_that_is_shot_ends_with_its_signal),
		T(a_vmm_outlives_its_supervisor_and_is_adopted),
		T(a_socket_that_nobody_listens_on_is_removed),
		T(a_log_that_has_grown_is_cut),
		T(a_vmm_that_does_not_listen_yet_is_found),
		T(an_end_that_nobody_saw_is_told_by_the_next_daemon),
		T(an_end_is_told_again_by_the_next_daemon),
		T(a_silent_end_is_told_by_the_next_daemon),
		T(a_vmm_whose_files_are_removed_is_not_dead),
		T(a_copy_of_a_life_file_says_nothing_of_its_vmm),
		T(a_vmm_without_a_name_is_killed_before_the_list_is_complete),
		T(whoever_reads_a_life_file_does_not_live_in_it),
		T(a_mute_vmm_is_found_and_can_be_killed),
		T(a_recycled_pid_is_never_taken_for_a_vmm),
		T(a_spoilt_life_file_of_nobody_is_no_life),
		T(a_vmm_that_spoils_its_life_file_is_ended),
		T(a_scan_that_cannot_know_is_not_complete),
		T(a_page_that_cannot_be_had_now_is_waited_for),
		T(a_hello_with_another_incarnation_is_not_believed),
		T(what_follows_a_wrong_hello_is_not_believed),
		T(of_an_event_only_what_is_used_is_kept),
		T(why_it_stands_still_is_known),
		T(what_we_lack_is_no_sign_of_its_death),
		T(a_guest_does_not_fill_the_log),
		T(a_log_that_cannot_be_opened_keeps_nobody_from_running),
		T(a_fifo_in_place_of_a_file_is_not_waited_for),
		T(a_migration_that_fails_is_told_with_its_reason),
		T(a_migration_goes_on_when_its_daemon_is_restarted),
		T(a_question_is_handed_on_and_its_answer_given),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
