/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_url - the words of a path and of a query, percent-encoding taken off (RFC 3986 2.1).
 */
#ifndef DROVER_HA_API_API_URL_H
#define DROVER_HA_API_API_URL_H

#include "base/err.h"

/** api_url_decode() - "%77eb" becomes "web", in place; -EINVAL for a broken code and for %00 */
int api_url_decode(char *word, struct err *e);

/**
 * api_url_split() - the words of @path behind "/v1/", decoded, in place
 *
 * Split first, decoded then: a "%2F" is a character of a name, where it is refused, and never
 * a way into another path.  An empty word is a word: what "/v1/domains//stop" names is nothing.
 *
 * Return: how many words; -ENOENT when there are more than @max or the path is not below /v1;
 * -EINVAL with text.
 */
int api_url_split(char *path, char *words[], int max, struct err *e);

#endif
