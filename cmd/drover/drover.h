/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drover - the command: what its files share.
 *
 *     main.c     options, the table of verbs, help
 *     http.c     requests to droverd's UNIX socket (libcurl)
 *     table.c    aligned tables, sizes and times for people
 *     domain.c   list, show, start, stop, remove, cancel, clear
 *     migrate.c  migrate, with its progress line
 *     console.c  console
 *     ha.c       ha ...
 *     url.c      names, and the paths they stand in
 *     node.c     status, node ..., fence, confirm
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

struct options {
	bool json;          /* -o json */
	const char *socket; /* --socket */
	bool force, yes, no_wait, why, dry_run, restricted, follow;
	uint32_t timeout_s; /* --timeout, 0 = the verb's own */
	const char *group;  /* --group */
	const char *node;   /* --node */
	int max_restart;    /* --max-restart, -1 = not given */
};

struct drover {
	struct options opt;
	struct http *http;
	uint64_t began_ms; /* --timeout counts from here */
	int argc;          /* what is left behind the verb's words */
	char **argv;
};

typedef int (*verb_fn)(struct drover *d);

int verb_list(struct drover *d);
int verb_show(struct drover *d);
int verb_start(struct drover *d);
int verb_stop(struct drover *d);
int verb_remove(struct drover *d);
int verb_pause(struct drover *d);
int verb_resume(struct drover *d);
int verb_cancel(struct drover *d);
int verb_clear(struct drover *d);
int verb_migrate(struct drover *d);
int verb_console(struct drover *d);
int verb_ha_add(struct drover *d);
int verb_ha_remove(struct drover *d);
int verb_ha_status(struct drover *d);
int verb_ha_timings(struct drover *d);
int verb_ha_history(struct drover *d);
int verb_ha_group_add(struct drover *d);
int verb_ha_group_remove(struct drover *d);
int verb_ha_group_list(struct drover *d);
int verb_status(struct drover *d);
int verb_node_status(struct drover *d);
int verb_node_maintenance(struct drover *d);
int verb_fence(struct drover *d);
int verb_confirm(struct drover *d);

/* ------------------------------------------------------------------ say.c */

/** say_errors_as_json() - -o json was given: say_error() says {"code": ..., "text": ...} too */
void say_errors_as_json(bool on);
/** say_error() - "drover: text" on standard error; returns @code */
int say_error(int code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ------------------------------------------------------------------ domain.c */

/** domain_get() - GET /v1/domains/@name into *@out; an exit code, error said */
int domain_get(struct drover *d, const char *name, json_t **out);

/** domain_post() - POST a command about a domain; says the error; an exit code */
int domain_post(struct drover *d, const char *base, const char *name, const char *verb,
		json_t *body);

/** domain_delete() - DELETE @base/@name; says the error; an exit code */
int domain_delete(struct drover *d, const char *base, const char *name);

/** What a file that was sent says of itself. */
struct added {
	char name[64];
	bool ha;        /* it has an `ha:` section: protected by having been taken in */
	char group[64]; /* "": none */
	int max_restart;
};

/** domain_add_file() - send a domain's file and start it, on @node unless that is NULL */
int domain_add_file(struct drover *d, const char *file, const char *node, struct added *out);

/** looks_like_file() - a path or a name that ends in .yaml or .yml */
bool looks_like_file(const char *arg);

/* --------------------------------------------------------------------- url.c */

/** name_check() - is @name one that a domain, a group or a host can have? says the error; an exit code */
int name_check(const char *what, const char *name);

/** url_add() - append @word, percent-encoded, behind a '/' unless @url is empty or ends in '=' */
void url_add(char *url, size_t size, const char *word);

/** done() - end of a command: print "text" or {"code": 0, "text": ...} */
int done(struct drover *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* -------------------------------------------------------------------- http.c */

struct http;

struct http *http_open(const char *socket_path, uint32_t timeout_s);
void http_close(struct http *h);

/**
 * http_request() - one request
 * @body: may be NULL; @out: the answer's JSON, NULL: not wanted
 * Return: an exit code; when not EXIT_OK, @e says why.
 */
int http_request(struct http *h, const char *method, const char *path, const char *body,
		 size_t len, json_t **out, struct err *e);

/* ------------------------------------------------------------------- table.c */

#define TABLE_COLUMNS_MAX 12

struct table;

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
bool bool_of(json_t *o, const char *key);
#define QUORUM_WORDS 96
const char *quorum_word(json_t *status, char buf[QUORUM_WORDS]); /* of GET status: "OK", "lost", ... */
int print_json(json_t *o);                                       /* indented; EXIT_OK */

#endif
