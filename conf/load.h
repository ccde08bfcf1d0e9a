/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - a tree checked against a libcyaml schema, then filled into a struct.
 *
 * libcyaml alone stops at "Unexpected key: memroy".  The check comes first and
 * says "web.yaml:3: memroy: unknown key, did you mean 'memory'?"; libcyaml
 * then only sees texts that fit, and what it still finds is passed on with
 * the line from its log.
 */
#ifndef DROVER_CONF_LOAD_H
#define DROVER_CONF_LOAD_H

#include "conf/tree.h"

#include <cyaml/cyaml.h>

/* One kind of file: its schema, and what makes a checked struct of what libcyaml filled. */
struct load_kind {
	const cyaml_schema_value_t *schema;
	/* @t: the same text, for the lines of errors; *@out is set on success only. */
	int (*build)(const struct tree *t, const void *raw, void **out, struct err *e);
};

/**
 * load_text() - one document, checked against the schema, filled and built
 * @name: what errors call it
 * Return: 0 and *@out, -EINVAL with "name:line: field: ...", or -ENOMEM; *@out is NULL then.
 */
int load_text(const struct load_kind *kind, const char *name, const char *text, size_t len,
	      void **out, struct err *e);

/** load_file() - the same of a file's text ("-": standard input); a negative errno when it cannot be read */
int load_file(const struct load_kind *kind, const char *path, void **out, struct err *e);

#endif
