/* SPDX-License-Identifier: Apache-2.0 */
/*
 * droverd - one per host: corosync member, HA shell, REST API, supervisor of
 * VMMs and fence agents (docs/droverd.8).
 *
 * A thin main: options, the cluster file, the qb loop, signals.  What it does
 * is in ha/.
 */
#include "base/err.h"
#include "base/log.h"
#include "base/stdio_end.h"
#include "base/number.h"
#include "cmd/droverd/daemon_log.h"
#include "conf/cluster.h"
#include "ha/api/api.h"
#include "ha/shell/shell.h"
#include "hv/cpu/cpuid.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <qb/qbdefs.h>
#include <qb/qbloop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_CONFIG "/etc/drover/cluster.yaml"

static const char usage_text[] =
	"usage: droverd [options]\n"
	"  -c, --config FILE      cluster file (default " DEFAULT_CONFIG ")\n"
	"      --run-dir DIR      sockets and lease page (default /run/drover)\n"
	"      --state-dir DIR    record (default /var/lib/drover)\n"
	"      --log-dir DIR      logs of domains (default STATE-DIR/log); better not beside the record\n"
	"      --socket PATH      API socket (default RUN-DIR/droverd.sock)\n"
	"      --drover-hv PATH   the VMM (default: beside droverd, then PATH)\n"
	"  -w, --wait SECONDS     wait that long for corosync to start (default 0)\n"
	"      --check            only read the cluster file, and say what is wrong with it\n"
	"  -f, --foreground       log to standard error, not to syslog (default at a terminal)\n"
	"  -d, --debug            log every event and effect\n"
	"  -V, --version\n"
	"  -h, --help\n";

struct arguments {
	const char *config, *run_dir, *state_dir, *log_dir, *socket, *drover_hv;
	unsigned int wait_s;
	bool config_given, check, foreground, debug, done;
};

enum {
	OPT_RUN_DIR = 256,
	OPT_STATE_DIR,
	OPT_LOG_DIR,
	OPT_SOCKET,
	OPT_DROVER_HV,
	OPT_CHECK
};

static const struct option long_options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "run-dir", required_argument, NULL, OPT_RUN_DIR },
	{ "state-dir", required_argument, NULL, OPT_STATE_DIR },
	{ "log-dir", required_argument, NULL, OPT_LOG_DIR },
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "drover-hv", required_argument, NULL, OPT_DROVER_HV },
	{ "wait", required_argument, NULL, 'w' },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "foreground", no_argument, NULL, 'f' },
	{ "debug", no_argument, NULL, 'd' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int take_wait(const char *text, unsigned int *out)
{
	uint64_t v;

	if (!number_parse(text, 0, 3600, &v)) {
		fprintf(stderr, "droverd: --wait %s: expected 0 to 3600 seconds\n", text);
		return EXIT_USAGE;
	}
	*out = (unsigned int)v;
	return 0;
}

static int parse_options(int argc, char **argv, struct arguments *o)
{
	int c;

	*o = (struct arguments){ .config = DEFAULT_CONFIG, .foreground = isatty(STDERR_FILENO) };
	while ((c = getopt_long(argc, argv, "c:w:fdVh", long_options, NULL)) != -1) {
		switch (c) {
		case 'c':
			o->config = optarg;
			o->config_given = true;
			break;
		case OPT_RUN_DIR:
			o->run_dir = optarg;
			break;
		case OPT_STATE_DIR:
			o->state_dir = optarg;
			break;
		case OPT_LOG_DIR:
			o->log_dir = optarg;
			break;
		case OPT_SOCKET:
			o->socket = optarg;
			break;
		case OPT_DROVER_HV:
			o->drover_hv = optarg;
			break;
		case OPT_CHECK:
			o->check = true;
			break;
		case 'w':
			if (take_wait(optarg, &o->wait_s))
				return EXIT_USAGE;
			break;
		case 'f':
			o->foreground = true;
			break;
		case 'd':
			o->debug = true;
			break;
		case 'V':
			puts("droverd " DROVER_VERSION);
			o->done = true;
			return 0;
		case 'h':
			fputs(usage_text, stdout);
			o->done = true;
			return 0;
		default:
			fputs("droverd: 'droverd --help' lists the options\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "droverd: unexpected argument '%s'\n", argv[optind]);
		return EXIT_USAGE;
	}
	return 0;
}

/* Beside our own program, else whatever PATH finds. */
static void find_drover_hv(char *out, size_t size)
{
	char self[PATH_MAX - 32], *slash;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t i;
	static const char *const places[] = { "/drover-hv", "/../drover-hv/drover-hv" };

	if (n > 0) {
		self[n] = '\0';
		slash = strrchr(self, '/');
		if (slash)
			*slash = '\0';
		for (i = 0; i < 2; i++) {
			snprintf(out, size, "%s%s", self, places[i]);
			if (access(out, X_OK) == 0)
				return;
		}
	}
	snprintf(out, size, "drover-hv");
}

/*
 * A busy host must not miss the renewals of its own lease.  Children fall back
 * to normal scheduling.
 */
static void be_timely(void)
{
	struct sched_param sp = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &sp) < 0)
		log_warn("no realtime scheduling: %s", strerror(errno));
}

/*
 * Each domain of this host takes three descriptors of ours, and what systemd gives at first (1024) is for 330 of them:
 * then no fence agent can be started any more, and nobody is answered.
 */
static void have_room(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur == r.rlim_max)
		return;
	r.rlim_cur = r.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &r) < 0)
		log_warn("descriptors: %s", strerror(errno));
}

/*
 * Before the loop runs nobody takes a signal off its pipe: they wait with the kernel, where shell_open() sees them
 * while it waits for corosync.  Before there are threads, which would take them.
 */
static void hold_signals(bool on)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(on ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

struct leaving {
	qb_loop_t *loop;
	struct shell *shell; /* NULL until there is one */
};

static int32_t on_signal(int32_t sig, void *data)
{
	struct leaving *l = data;

	log_info("signal %d, leaving the cluster; domains run on until their lease ends", sig);
	if (l->shell)
		shell_leave(l->shell);
	else
		qb_loop_stop(l->loop);
	return 0;
}

/* What habit and log rotation send to daemons. There is nothing to read again: files are read at start. */
static int32_t on_hangup(int32_t sig, void *data)
{
	log_info("signal %d ignored: cluster.yaml is read at start, restart droverd for a new one", sig);
	return 0;
}

static int32_t on_blackbox_wanted(int32_t sig, void *data)
{
	int rc = daemon_log_write(DAEMON_LOG_ASKED);

	if (rc < 0)
		log_warn("the blackbox cannot be written: %s", strerror(-rc));
	else
		log_info("the blackbox was written");
	return 0;
}

static int load_cluster(const struct arguments *o, struct cluster_conf **out, struct err *e)
{
	int rc = cluster_conf_load(o->config, out, e);

	if (rc != -ENOENT || o->config_given)
		return rc;
	*out = cluster_conf_default();
	return *out ? 0 : err_set(e, -ENOMEM, "out of memory");
}

/* Options of fence agents are passwords, and with one a host can be switched off. */
static void look_who_reads(const char *path, const struct cluster_conf *c)
{
	struct stat st;
	uint32_t i;

	for (i = 0; i < c->n_hosts && !c->hosts[i].n_fence; i++)
		;
	if (i < c->n_hosts && stat(path, &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)))
		log_warn("%s: others may read it (mode %04o), and it holds passwords of fence devices; expected 0600", path,
			 st.st_mode & 07777);
}

/* What a restart would find: asked before it, while the daemon that runs still renews the lease. */
static int check_only(const struct arguments *o, const struct cluster_conf *c)
{
	log_init("droverd", LOG_LEVEL_INFO);
	if (access(o->config, F_OK) < 0)
		printf("%s is not there: a cluster without fence devices\n", o->config);
	else
		printf("%s can be used: %zu host%s\n", o->config, (size_t)c->n_hosts, c->n_hosts == 1 ? "" : "s");
	look_who_reads(o->config, c);
	return stdio_end("droverd", 0);
}

/* Asked anew each time: the module may be loaded later than droverd is started. */
static json_t *host_cpu(void)
{
	struct cpuid_table host;
	struct err e;

	if (!cpuid_here(&host, &e))
		return cpuid_host_json(&host);
	log_debug("processor: %s", e.text);
	return NULL;
}

/* @ran: set when it came so far that it served anybody */
static int serve(qb_loop_t *loop, const struct arguments *o, const struct cluster_conf *cluster,
		 struct leaving *leaving, bool *ran, struct err *e)
{
	char hv[PATH_MAX], socket_path[PATH_MAX];
	struct shell_conf conf = {
		.run_dir = o->run_dir ? o->run_dir : cluster->run_dir,
		.state_dir = o->state_dir ? o->state_dir : cluster->state_dir,
		.log_dir = o->log_dir,
		.drover_hv = o->drover_hv ? o->drover_hv : cluster->drover_hv,
		.cluster = cluster,
		.wait_ms = o->wait_s * 1000,
		.host_cpu = host_cpu,
	};
	struct shell *shell = NULL;
	struct api *api = NULL;
	int rc;

	if (!conf.drover_hv) {
		find_drover_hv(hv, sizeof(hv));
		conf.drover_hv = hv;
	}
	snprintf(socket_path, sizeof(socket_path), "%s/droverd.sock", conf.run_dir);
	daemon_log_keep_in(conf.state_dir);
	look_who_reads(o->config, cluster);
	rc = shell_open(loop, &conf, &shell, e);
	if (rc < 0)
		return rc;
	rc = api_open(loop, shell, o->socket ? o->socket : socket_path, &api, e);
	if (rc == 0) {
		log_info("droverd " DROVER_VERSION " runs, API on %s",
			 o->socket ? o->socket : socket_path);
		leaving->shell = shell;
		hold_signals(false);
		qb_loop_run(loop);
		leaving->shell = NULL;
		*ran = true;
		if (*shell_error(shell))
			rc = err_set(e, -EIO, "%s", shell_error(shell));
	}
	api_close(api);
	shell_close(shell);
	return rc;
}

int main(int argc, char **argv)
{
	struct cluster_conf *cluster = NULL;
	struct err e = { 0 };
	struct arguments o;
	qb_loop_t *loop;
	struct leaving leaving = { 0 };
	bool ran = false;
	int rc;

	stdio_begin();
	rc = parse_options(argc, argv, &o);
	if (rc || o.done)
		return stdio_end("droverd", rc);
	signal(SIGPIPE, SIG_IGN);
	rc = load_cluster(&o, &cluster, &e);
	if (rc < 0) {
		fprintf(stderr, "droverd: %s\n", e.text);
		return rc == -ENOENT ? EXIT_NOTFOUND : EXIT_USAGE;
	}
	if (o.check) {
		rc = check_only(&o, cluster);
		cluster_conf_free(cluster);
		return rc;
	}
	hold_signals(true);
	daemon_log_open(o.foreground, o.debug);
	have_room();
	loop = qb_loop_create();
	if (!loop) {
		fputs("droverd: out of memory\n", stderr);
		return EXIT_ERROR;
	}
	leaving.loop = loop;
	qb_loop_signal_add(loop, QB_LOOP_HIGH, SIGTERM, &leaving, on_signal, NULL);
	qb_loop_signal_add(loop, QB_LOOP_HIGH, SIGINT, &leaving, on_signal, NULL);
	qb_loop_signal_add(loop, QB_LOOP_LOW, SIGHUP, NULL, on_hangup, NULL);
	qb_loop_signal_add(loop, QB_LOOP_LOW, SIGUSR2, NULL, on_blackbox_wanted, NULL);
	be_timely();
	rc = serve(loop, &o, cluster, &leaving, &ran, &e);
	if (rc == -EINTR) { /* as told */
		log_info("%s", e.text);
		rc = 0;
	}
	if (rc < 0)
		log_error("%s", e.text);
	if (rc < 0 && ran) /* but not for each try to start */
		daemon_log_write(DAEMON_LOG_ERROR);
	daemon_log_close();
	if (rc < 0 && !o.foreground)
		fprintf(stderr, "droverd: %s\n", e.text);
	qb_loop_destroy(loop);
	cluster_conf_free(cluster);
	if (rc == -EBUSY)
		return EXIT_REFUSED;
	return rc < 0 ? EXIT_ERROR : 0;
}
