/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drover - the command: what its files share.
 *
 *     main.c     what is done with a command line
 *     options.c  its options
 *     names.c    names on the line; a uuid becomes a name
 *     verbs.c    the table of verbs, help
 *     http.c     requests to droverd's UNIX socket (libcurl)
 *     line.c     a progress line
 *     table.c    aligned tables, sizes and times for people
 *     domain.c   list, show, start, stop, remove, cancel, clear
 *     reboot.c   reset, reboot
 *     domain_file.c  files of domains
 *     config.c   config, validate
 *     migrate.c  migrate, with its progress line
 *     console.c  console
 *     vmm.c      the VMM of a domain that runs on this host, and what it is asked
 *     screenshot.c, send_key.c, vnc.c, guest.c
 *     agent.c    the protocol of the agent in a guest
 *     ha.c       ha ...
 *     history.c  ha history
 *     watch.c    watch
 *     url.c      names, and the paths they stand in
 *     completion.c  completion bash
 *     node.c     status, node ..., fence, confirm
 *     witness.c  witness init
 *     disk.c     disk create
 *     disk_make.c     new images, for those who make them
 *     disk_convert.c  disk convert
 *     cpu.c      cpu list, cpu show, cpu baseline; cpu_check.c: cpu check; cpu_of.c: what hosts have
 *     disk_info.c     disk info
 *     disk_check.c    disk check
 *
 * A verb returns an exit code (base/err.h).  Results go to standard output,
 * errors and progress to standard error.
 */
#ifndef DROVER_CMD_DROVER_H
#define DROVER_CMD_DROVER_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define DISK_PARENTS_MAX 32

struct options {
	bool json;          /* -o json */
	const char *socket; /* --socket */
	bool force, yes, no_wait, why, dry_run, restricted, follow, canonical, offline;
	uint32_t timeout_s;                    /* --timeout, 0 = the verb's own */
	const char *group;                     /* --group */
	const char *node;                      /* --node */
	int max_restart;                       /* --max-restart, -1 = not given */
	const char *format;                    /* --format */
	const char *from;                      /* --from */
	const char *text;                      /* --text */
	const char *parents[DISK_PARENTS_MAX]; /* --parent, as often as it was said */
	size_t n_parents;
};

#define DOMAIN_NAME_SIZE 64

struct verb;
typedef const struct verb *(*verb_at_fn)(size_t i);

struct drover {
	struct options opt;
	struct http *http;
	uint64_t began_ms; /* --timeout counts from here */
	int argc;          /* what is left behind the verb's words */
	char **argv;
	verb_at_fn verb_at;          /* the table of verbs (verbs.h), for the one that completes them */
	char name[DOMAIN_NAME_SIZE]; /* of the domain that the line names by its uuid (names.h) */
};

/*
 * The verbs.  The words in d->argv are as many as main.c's table says, and what must be a name is one.
 * All say what went wrong and return an exit code.  With -o json they print droverd's answer, or what done()
 * does.  With --no-wait none waits.
 */
typedef int (*verb_fn)(struct drover *d);

/** verb_list() - a table of all domains */
int verb_list(struct drover *d);
/** verb_show() - one domain, a line per field; of its VMM only where it runs on this host */
int verb_show(struct drover *d);
/**
 * verb_start() - start a domain, or take in the one that a file describes, which starts it
 * Then wait until it runs, for up to --timeout (60 s) since the command began: EXIT_TIMEOUT.  A start that
 * failed ends with the exit code of its VMM.
 */
int verb_start(struct drover *d);
/** verb_stop() - shut it down, with --force at once; wait until it is stopped, as verb_start() */
int verb_stop(struct drover *d);
/** verb_reset() - begin anew at once; EXIT_REFUSED where it does not run on this host */
int verb_reset(struct drover *d);
/**
 * verb_reboot() - ask the guest to shut down, and start it again; wait for that for up to --timeout (60 s)
 * Return: EXIT_OK; EXIT_TIMEOUT when the guest has not shut down by then; EXIT_REFUSED as verb_reset(); EXIT_ERROR.
 */
int verb_reboot(struct drover *d);
/** verb_remove() - forget a stopped domain */
int verb_remove(struct drover *d);
/** verb_pause() - let it stand still; wait until it does, as verb_start() */
int verb_pause(struct drover *d);
/** verb_resume() - let it go on; wait until it runs, as verb_start() */
int verb_resume(struct drover *d);
/** verb_config() - its text as the cluster has it, to a terminal without what that obeys; --canonical: with everything said */
int verb_config(struct drover *d);
/**
 * verb_validate() - could this file be started? syntax, and where droverd answers also what other domains have
 * Return: EXIT_OK, also when no droverd was there to be asked, which is said; EXIT_USAGE with file:line; EXIT_REFUSED with
 * what another domain has; EXIT_NOTFOUND: no such file, or group.
 */
int verb_validate(struct drover *d);
/** verb_cancel() - cancel its migration; does not wait for what becomes of it */
int verb_cancel(struct drover *d);
/** verb_clear() - forget its failures, so that it is tried again at once */
int verb_clear(struct drover *d);
/**
 * verb_migrate() - move it, to a host or to where the cluster likes, and follow that for up to --timeout (600 s)
 * A progress line is shown on a terminal.  Return: EXIT_OK when what ran before was handed over to its target;
 * EXIT_TIMEOUT: it still moves; EXIT_ERROR.  With --dry-run EXIT_OK: it could move; EXIT_REFUSED: it could not.
 */
int verb_migrate(struct drover *d);
/** verb_console() - terminal <-> its serial port, until ^] or its end; EXIT_REFUSED when it does not run on this host */
int verb_console(struct drover *d);
/**
 * verb_watch() - what happens from now on, a line each, of one domain or all: this host's history, states and hosts of domains
 * JSON is a line each too.  Waits for a droverd that is restarted.  Ends when nobody reads any more; by SIGINT with EXIT_OK.
 */
int verb_watch(struct drover *d);
/**
 * verb_screenshot() - what is on the screen of a domain of this host, as a PNG file
 * Return: EXIT_REFUSED when it does not run on this host or the screen is dark; EXIT_NOTFOUND when it has no screen.
 */
int verb_screenshot(struct drover *d);
/** verb_send_key() - press keys of a domain of this host, or type --text; returns when its VMM has taken them */
int verb_send_key(struct drover *d);
/** verb_vnc() - the path of the socket at which viewers find the screen of a domain of this host; EXIT_NOTFOUND: it has none */
int verb_vnc(struct drover *d);
/**
 * verb_guest() - have the agent in the guest of a domain of this host do or tell something
 * Return: EXIT_NOTFOUND: the domain has no port for one; EXIT_REFUSED: none runs; EXIT_TIMEOUT: it does not answer;
 * EXIT_ERROR: it refuses, or is no such agent.
 */
int verb_guest(struct drover *d);
/** verb_ha_add() - protect a domain, or first take in and start that of a file; options go before what that says */
int verb_ha_add(struct drover *d);
/** verb_ha_remove() - no longer protect it */
int verb_ha_remove(struct drover *d);
/** verb_ha_status() - quorum, problems, hosts, protected domains; three answers, so three members in JSON */
int verb_ha_status(struct drover *d);
/** verb_ha_timings() - what droverd says of its times: text of its own for people */
int verb_ha_timings(struct drover *d);
/**
 * verb_ha_history() - what happened, the oldest first
 * With --follow asks for more twice a second, until that fails or standard output does, and goes on when droverd was
 * restarted; JSON is a line per event then.
 */
int verb_ha_history(struct drover *d);
/** verb_ha_group_add() - make or replace a group, "n1:20,n2": priorities of -1000000 to 1000000, 0 where none is said */
int verb_ha_group_add(struct drover *d);
/** verb_ha_group_remove() - remove a group */
int verb_ha_group_remove(struct drover *d);
/** verb_ha_group_list() - a table of all groups */
int verb_ha_group_list(struct drover *d);
/** verb_status() - this host and the cluster in a few lines; JSON is of this host only */
int verb_status(struct drover *d);
/** verb_node_status() - a table of all hosts */
int verb_node_status(struct drover *d);
/** verb_node_maintenance() - "on" or "off"; EXIT_USAGE for another word */
int verb_node_maintenance(struct drover *d);
/**
 * verb_fence() - order a host's power to be cut; does not wait for the outcome
 * Asks first, unless --yes: EXIT_REFUSED when the answer is no, EXIT_USAGE when standard input is no terminal.
 */
int verb_fence(struct drover *d);
/** verb_confirm() - say that a host is off, on a person's word; asks first, as verb_fence() */
int verb_confirm(struct drover *d);

/**
 * verb_completion() - bash's completion of this command; with words: what may stand in place of the last one, a line each
 * Of those the first is "drover".  ":file" stands for files.  droverd is asked for names, for a second and no longer; when it
 * does not answer there are none.  Always EXIT_OK.
 */
int verb_completion(struct drover *d);

/**
 * verb_witness_init() - make a storage witness in a new file or on an empty block device; says what cluster.yaml needs
 * Asks no droverd.  Return: EXIT_OK, EXIT_REFUSED where something lies already, EXIT_ERROR.
 */
int verb_witness_init(struct drover *d);

/**
 * verb_disk_create() - make a disk image in a new file: raw, VHD (dynamic; fixed), qcow2, or one of these that differs from a parent
 * Asks no droverd; nothing is left behind when it fails.  Return: EXIT_OK; EXIT_REFUSED where something has the name;
 * EXIT_USAGE, EXIT_NOTFOUND, EXIT_ERROR.
 */
int verb_disk_create(struct drover *d);
/**
 * verb_disk_convert() - copy an image with what its parents have into a new one, with a progress line on a terminal
 * Asks no droverd; whoever writes to the source meanwhile is kept from it, or keeps us: EXIT_REFUSED.  As verb_disk_create().
 */
int verb_disk_convert(struct drover *d);
/** verb_disk_info() - what an image is, after its tables were checked; EXIT_ERROR when it is not sound; asks no droverd */
int verb_disk_info(struct drover *d);
/** verb_disk_check() - is anything of an image's tables wrong: then EXIT_ERROR; what is not used is counted; asks no droverd */
int verb_disk_check(struct drover *d);

/** verb_cpu_list() - all CPU models and the names of features, or what one model has: EXIT_NOTFOUND; asks no droverd */
int verb_cpu_list(struct drover *d);
/**
 * verb_cpu_check() - for each host, does it have the processor that a domain's file asks for?
 * EXIT_REFUSED when one has not, or told nothing.
 */
int verb_cpu_check(struct drover *d);
/** verb_cpu_baseline() - what the processors of all hosts have in common; EXIT_ERROR when some told nothing, also behind a result */
int verb_cpu_baseline(struct drover *d);
/** verb_cpu_show() - what this host's KVM has for guests, and the best model in it; asks no droverd */
int verb_cpu_show(struct drover *d);

/* ------------------------------------------------------------------ say.c */

/** say_errors_as_json() - -o json was given: say_error() says {"code": ..., "error": text} on standard output too */
void say_errors_as_json(bool on);
/** say_lines() - this verb writes JSON line by line: its error is a line too */
void say_lines(void);
/** say_error() - "drover: text" on standard error; returns @code */
int say_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ------------------------------------------------------------------ line.c */

/** line_show() - the progress line on standard error, a terminal, is @text (clean), as far as it has columns */
void line_show(const char *text);
/** line_clear() - there is none */
void line_clear(void);

/* ------------------------------------------------------------------ domain.c */

/** domain_get() - GET /v1/domains/@name into *@out; an exit code, error said */
int domain_get(struct drover *d, const char *name, json_t **out);

/** domain_poll() - domain_get() for whoever waits until @until_ms: a droverd that is restarted meanwhile is waited for */
int domain_poll(struct drover *d, const char *name, uint64_t until_ms, json_t **out);

/** poll_get() - GET /v1/@url for whoever waits until @until_ms: a droverd that is restarted meanwhile is waited for */
int poll_get(struct drover *d, const char *url, uint64_t until_ms, json_t **out);

#define SAID_MAX 256

/** domain_post_said() - domain_post(), and what droverd answered: it may have had nothing to do */
int domain_post_said(struct drover *d, const char *base, const char *name, const char *verb, json_t *body,
		     char said[SAID_MAX]);

/** domain_post() - POST a command about a domain; says the error; an exit code */
int domain_post(struct drover *d, const char *base, const char *name, const char *verb,
		json_t *body);

/** domain_delete() - DELETE @base/@name; says the error; an exit code */
int domain_delete(struct drover *d, const char *base, const char *name);

/**
 * domain_add_file() - send a domain's file and start it, on @node unless that is NULL
 * @protect: as `ha add` does, with its options; all in one command, so that it starts where its group
 * says, and is not taken in where there is no such group
 */
int domain_add_file(struct drover *d, const char *file, const char *node, bool protect, char name[DOMAIN_NAME_SIZE]);

/** looks_like_file() - a path or a name that ends in .yaml or .yml */
bool looks_like_file(const char *arg);

/* --------------------------------------------------------------------- vmm.c */

/**
 * vmm_find() - the VMM of the domain @name, which must run on this host
 * @verb: what was to be done with it, for the message
 * Return: EXIT_OK and *@vmm ({control, console, ...}, json_decref() it); else an exit code, error said.
 */
int vmm_find(struct drover *d, const char *name, const char *verb, json_t **vmm);

struct vmm_link;

/** vmm_link_open() - to the control socket of @name's VMM, as vmm_find(); EXIT_OK and *@out, vmm_link_close() it; error said */
int vmm_link_open(struct drover *d, const char *name, const char *verb, struct vmm_link **out);
/** vmm_link_close() - NULL is nothing */
void vmm_link_close(struct vmm_link *l);
/**
 * vmm_link_ask() - one command of docs/control.md; waits for its answer, up to 20 s
 * @args: taken over, may be NULL
 * Return: EXIT_OK and *@out, what it returned (json_decref() it); else an exit code, error said.
 */
int vmm_link_ask(struct vmm_link *l, const char *command, json_t *args, json_t **out);

/* --------------------------------------------------------------------- url.c */

/** name_check() - is @name one that a domain, a group or a host can have? says the error; an exit code */
int name_check(const char *what, const char *name);

/** url_add() - append @word, percent-encoded, behind a '/' unless @url is empty or ends in '=' */
void url_add(char *url, size_t size, const char *word);

/** done() - end of a command: print "text" or {"code": 0, "text": ...} */
int done(struct drover *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* -------------------------------------------------------------------- http.c */

struct http;

/**
 * http_open() - for requests to droverd at @socket_path (copied), each of which may take @timeout_s
 * Connects to nobody yet.  Return: http_close() it; NULL when there is no memory.
 */
struct http *http_open(const char *socket_path, uint32_t timeout_s);
/** http_close() - NULL is nothing */
void http_close(struct http *h);

/**
 * http_request() - one request
 * @path: below /v1/, encoded (url_add())
 * @body: may be NULL; @out: the answer's JSON, NULL: not wanted
 * Return: an exit code; when not EXIT_OK, @e says why.
 */
int http_request(struct http *h, const char *method, const char *path, const char *body,
		 size_t len, json_t **out, struct err *e);

/* ------------------------------------------------------------------- table.c */

#define TABLE_COLUMNS_MAX 12

struct table;

/** table_make() - up to TABLE_COLUMNS_MAX columns under @heads (copied); table_print() frees it; aborts without memory */
struct table *table_make(int columns, const char *const *heads);
/** table_row() - strings are copied; NULL shows as "-" */
void table_row(struct table *t, const char *const *cells);
/** table_print() - print and free */
void table_print(struct table *t, FILE *to);

const char *format_size(double bytes, char buf[32]); /* "1.5 GiB" */
const char *format_ms(double ms, char buf[32]);      /* "12 ms", "3.4 s" */

const char *text_of(json_t *v);                 /* clean (base/text.h); "" when it is not a string */
const char *str_of(json_t *o, const char *key); /* the same of a member of @o */
double num_of(json_t *o, const char *key);      /* 0 when it is not a number */
bool bool_of(json_t *o, const char *key);       /* true for true, and for nothing else */
#define QUORUM_WORDS 96
const char *quorum_word(json_t *status, char buf[QUORUM_WORDS]); /* of GET status: "OK", "lost", ... */
int print_json(json_t *o);                                       /* indented; EXIT_OK */
void print_json_line(json_t *o);                                 /* for those who read line by line */

#endif
