/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check - tests of single values that both kinds of file need.
 *
 * Each takes the node the value came from, for the line, and returns 0 or
 * -EINVAL with what was expected.
 */
#ifndef DROVER_CONF_CHECK_H
#define DROVER_CONF_CHECK_H

#include "conf/tree.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define CHECK_NAME_MAX 63
#define CHECK_PATH_MAX 4095

/** is_name() - 1 to @max letters, digits, '-', '_' and '.', a letter or a digit first */
bool is_name(const char *s, size_t max);

/** check_name() - letters, digits, '-', '_', '.'; starts with a letter or digit */
int check_name(const struct tree *t, const struct tree_node *n, struct err *e);
/** check_path() - absolute, no control characters */
int check_path(const struct tree *t, const struct tree_node *n, struct err *e);
/** check_line() - no control characters (ends up on a command line or an agent's input) */
int check_line(const struct tree *t, const struct tree_node *n, struct err *e);
/** check_ifname() - what Linux takes for a network device: 1..15, no '/', no space */
int check_ifname(const struct tree *t, const struct tree_node *n, struct err *e);
/** check_host() - an IPv4 or IPv6 address or a host name */
int check_host(const struct tree *t, const struct tree_node *n, struct err *e);
/**
 * check_ip() - an IPv4 or IPv6 address that one host can have
 * @bytes: network order, 4 or 16 of them, the rest 0
 */
int check_ip(const struct tree *t, const struct tree_node *n, bool *v6, uint8_t bytes[16], struct err *e);
/** check_size() - a size of @min..@max bytes, multiple of @align */
int check_size(const struct tree *t, const struct tree_node *n, uint64_t min, uint64_t max,
	       uint64_t align, uint64_t *out, struct err *e);
/** check_ms() - a time of @min..@max milliseconds */
int check_ms(const struct tree *t, const struct tree_node *n, uint64_t min, uint64_t max,
	     uint64_t *out, struct err *e);
/** check_mac() - "52:54:00:12:34:56", unicast, not all zero */
int check_mac(const struct tree *t, const struct tree_node *n, uint8_t mac[6], struct err *e);
/** uuid_parse() - 8-4-4-4-12 hexadecimal digits (RFC 9562 4), in either case, not all zero; else false */
bool uuid_parse(const char *text, uint8_t uuid[16]);
/** check_uuid() - what uuid_parse() takes */
int check_uuid(const struct tree *t, const struct tree_node *n, uint8_t uuid[16],
	       struct err *e);

/**
 * path_plain() - @path without what does not change where it leads: "/a//./b/" is "/a/b"
 * ".." stays: where it leads is for the file system to say.
 */
void path_plain(const char *path, char out[CHECK_PATH_MAX + 1]);

/** print_quoted() - write @s as a double-quoted YAML scalar */
void print_quoted(FILE *f, const char *s);
/** print_text() - a line of @key and the quoted @value; nothing when there is none */
void print_text(FILE *f, const char *key, const char *value);

#endif
