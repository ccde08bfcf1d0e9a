/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drover-hv - run one domain.
 *
 *     drover-hv run FILE.yaml [options]
 *
 * Order: everything that can be wrong with options and files is found before the
 * guest's first instruction; then the disks are taken; then it runs.  With
 * --incoming neither happens here: the migration side does it when the domain has
 * arrived and this process has become its owner (rule H).
 *
 * The sandbox (sandbox.h) closes between vmm_init() and migration_init(), which open what there is to open,
 * and the first that a guest or another host has to say.  What is needed later is open by then (kernel, initrd),
 * or a broker opens it, forked before there are threads (hv/disk/disk_broker.h).
 */
#include "cmd/drover-hv/sandbox.h"
#include "cmd/drover-hv/vmm.h"

#include "base/log.h"
#include "base/number.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

enum {
	OPT_NAME = 1,
	OPT_INCARNATION,
	OPT_CONTROL,
	OPT_LEASE,
	OPT_INCOMING,
	OPT_CONSOLE,
	OPT_LIFE,
	OPT_NO_REBOOT,
	OPT_PAUSED,
	OPT_NO_ARBITER,
	OPT_NO_SANDBOX,
	OPT_CLUSTER
};

static const struct option options[] = {
	{ "name", required_argument, NULL, OPT_NAME },
	{ "incarnation", required_argument, NULL, OPT_INCARNATION },
	{ "cluster", required_argument, NULL, OPT_CLUSTER },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "lease", required_argument, NULL, OPT_LEASE },
	{ "life", required_argument, NULL, OPT_LIFE },
	{ "incoming", required_argument, NULL, OPT_INCOMING },
	{ "console", required_argument, NULL, OPT_CONSOLE },
	{ "no-reboot", no_argument, NULL, OPT_NO_REBOOT },
	{ "paused", no_argument, NULL, OPT_PAUSED },
	{ "no-arbiter", no_argument, NULL, OPT_NO_ARBITER },
	{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

static const char usage_text[] =
	"usage: drover-hv run FILE.yaml [options]\n"
	"       drover-hv adopt FILE.yaml\n"
	"\n"
	"  FILE.yaml              the domain (domain.yaml(5)), - for standard input\n"
	"  --name NAME            instead of the file's\n"
	"  --incarnation N        of this ownership; disks refuse an older one; default: the next one,\n"
	"                         where a disk's lock shows that the domain runs nowhere else\n"
	"  --cluster ID           who counts incarnations; disks refuse another cluster's domain\n"
	"  --control PATH         listen for commands (docs/control.md)\n"
	"  --console stdio|PATH   serial port; default: beside the control socket, else stdio\n"
	"  --lease FILE           run only while this lease page is valid\n"
	"  --life FD              inherited life file: how it ends is written there\n"
	"  --incoming ADDRESS     wait for a migration, e.g. tcp:0.0.0.0:7700\n"
	"  --no-arbiter           let a migration be decided without shared disk or cluster\n"
	"  --no-reboot            end when the guest resets\n"
	"  --no-sandbox           keep all rights: to debug drover-hv, never for a guest that you do not trust\n"
	"  --paused               do not start before `resume`\n"
	"\n"
	"adopt makes the domain's disks nobody's: for when the cluster that owns them is no more\n"
	"\n"
	"  -v, --verbose          say more\n"
	"      --version\n"
	"  -h, --help\n";

static int parse(int argc, char **argv, struct vmm_options *o, struct err *e)
{
	int c, ret = 0;
	uint64_t fd;

	while (!ret && (c = getopt_long(argc, argv, ":vhV", options, NULL)) != -1) {
		switch (c) {
		case OPT_NAME:
			o->name = optarg;
			break;
		case OPT_INCARNATION:
			if (!number_parse(optarg, 1, INT64_MAX, &o->incarnation))
				ret = err_set(e, -EINVAL, "--incarnation %s: expected a whole number "
							  "from 1",
					      optarg);
			break;
		case OPT_CLUSTER:
			o->cluster = optarg;
			if (!*optarg || strlen(optarg) > CLUSTER_ID_MAX)
				ret = err_set(e, -EINVAL, "--cluster %s: expected 1 to %d characters",
					      optarg, CLUSTER_ID_MAX);
			break;
		case OPT_CONTROL:
			o->control = optarg;
			break;
		case OPT_LEASE:
			o->lease = optarg;
			break;
		case OPT_LIFE:
			if (!number_parse(optarg, 0, INT_MAX, &fd) || fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0)
				ret = err_set(e, -EINVAL, "--life %s: expected an open descriptor", optarg);
			else
				o->life = (int)fd;
			break;
		case OPT_INCOMING:
			o->incoming = optarg;
			break;
		case OPT_CONSOLE:
			o->console = optarg;
			break;
		case OPT_NO_REBOOT:
			o->no_reboot = true;
			break;
		case OPT_PAUSED:
			o->paused = true;
			break;
		case OPT_NO_ARBITER:
			o->no_arbiter = true;
			break;
		case OPT_NO_SANDBOX:
			o->no_sandbox = true;
			break;
		case 'v':
			o->log_level = LOG_LEVEL_DEBUG;
			break;
		case 'h':
			fputs(usage_text, stdout);
			exit(EXIT_OK);
		case 'V':
			puts("drover-hv " DROVER_VERSION);
			exit(EXIT_OK);
		case ':':
			return err_set(e, -EINVAL, "%s needs a value (see --help)", argv[optind - 1]);
		default:
			return err_set(e, -EINVAL, "%s: no such option (see --help)", argv[optind - 1]);
		}
	}
	if (ret)
		return ret;
	if (argc - optind != 2 || (strcmp(argv[optind], "run") && strcmp(argv[optind], "adopt")))
		return err_set(e, -EINVAL, "expected: drover-hv run FILE.yaml [options], or drover-hv adopt "
					   "FILE.yaml");
	o->adopt = !strcmp(argv[optind], "adopt");
	if (o->adopt && (o->incoming || o->incarnation || o->cluster || o->lease || o->name || o->control || o->console ||
			 o->life >= 0 || o->no_reboot || o->paused || o->no_arbiter ||
			 o->no_sandbox))
		return err_set(e, -EINVAL, "adopt takes no options but --verbose: the others are for run");
	o->file = argv[optind + 1];
	return 0;
}

/* SIGTERM and SIGINT end the process in order; a second one is not waited for. */
static void on_signal(void *arg, uint32_t events)
{
	struct drover_hv *v = arg;

	(void)events;
	log_info("ended by a signal");
	vmm_end(v, VMM_END_SIGNAL, EXIT_OK, "ended by a signal");
}

static int watch_signals(struct drover_hv *v, const sigset_t *set, int *fd, struct err *e)
{
	*fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (*fd < 0)
		return err_errno(e, "signalfd");
	return loop_add(v->loop, *fd, EPOLLIN, on_signal, v, e);
}

/* Without a number somebody else counts: who has the lock is the next one (hv/disk/disk_lock.h). */
static int take_disks(struct drover_hv *v, struct err *e)
{
	int ret = machine_disks_prepare(v->machine, e);

	if (ret)
		return ret;
	if (!v->opt.incarnation)
		v->incarnation = machine_disks_next(v->machine);
	ret = machine_disks_commit(v->machine, v->incarnation, v->incarnation, e);
	if (ret)
		machine_disks_abandon(v->machine);
	return ret;
}

static int start(struct drover_hv *v, struct err *e)
{
	int ret;

	ret = machine_boot(v->machine, e);
	if (!ret)
		ret = take_disks(v, e);
	if (!ret && !v->opt.paused)
		ret = vmm_start(v, e);
	if (!ret)
		vmm_update_state(v);
	return ret;
}

/* Whose last word goes into the life file: there is one VMM in a process. */
static int sandbox_life = -1;

static void sandbox_last_word(const char *text)
{
	vmm_life_end(sandbox_life, VMM_END_FAILED, EXIT_ERROR, text);
}

/*
 * What the C library would open when it is first needed, which is too late: /etc/localtime for gmtime_r(3), of the
 * guest's clock; for malloc(3), files in /proc and /sys about arenas beyond the first.  One is enough: what is
 * allocated while a guest runs is little.
 */
static void prepare_library(void)
{
	tzset();
	mallopt(M_ARENA_MAX, 1);
}

static void prepare_sandbox(const struct drover_hv *v)
{
	prepare_library();
	sandbox_life = v->opt.life;
	if (v->opt.no_sandbox)
		log_warn("no sandbox: a guest that breaks out of its machine has all rights of this process");
	else
		sandbox_prepare(sandbox_last_word);
}

static void find_args(int argc, char **argv, struct vmm_options *o)
{
	const char *last = argv[argc - 1];

	o->args = argv[0];
	o->args_len = (size_t)(last + strlen(last) + 1 - argv[0]);
}

int main(int argc, char **argv)
{
	struct drover_hv v = { .opt = { .log_level = LOG_LEVEL_INFO, .life = -1 }, .statm_fd = -1 };
	struct err e = { 0 };
	int ret, signal_fd = -1;
	sigset_t set;

	log_init("drover-hv", v.opt.log_level);
	find_args(argc, argv, &v.opt); /* before getopt_long(3) puts them into another order */
	ret = parse(argc, argv, &v.opt, &e);
	if (ret)
		goto out;
	if (v.opt.adopt) {
		ret = adopt_disks(v.opt.file, &e);
		goto out;
	}
	signal(SIGPIPE, SIG_IGN);
	/* Blocked before the first thread exists, so that none of them gets one. */
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	prepare_sandbox(&v);
	ret = vmm_init(&v, &e);
	if (!ret)
		ret = watch_signals(&v, &set, &signal_fd, &e);
	if (!ret)
		ret = migration_init(&v, &e);
	if (!ret && !v.opt.no_sandbox)
		ret = sandbox_close(&e);
	if (!ret)
		ret = v.opt.incoming ? receive_begin(&v, &e) : start(&v, &e);
	if (!ret)
		loop_run(v.loop);
	migration_fini(&v);
	vmm_fini(&v);
	if (signal_fd >= 0)
		close(signal_fd);
out:
	if (ret) {
		log_error("%s", e.text);
		vmm_life_end(v.opt.life, VMM_END_FAILED, err_exit_code(ret), e.text);
		return err_exit_code(ret);
	}
	return v.exit_code;
}
