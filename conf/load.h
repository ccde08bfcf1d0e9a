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

/**
 * load_fill() - check @t, made from the same @text, and load it by @schema
 * @raw: receives a struct to release with load_free()
 * Return: 0, -EINVAL with "file:line: field: ...", or -ENOMEM.
 */
int load_fill(const struct tree *t, const char *text, size_t len,
	      const cyaml_schema_value_t *schema, void **raw, struct err *e);
void load_free(const cyaml_schema_value_t *schema, void *raw);

#endif
