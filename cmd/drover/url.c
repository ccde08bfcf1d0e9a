/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url - names of domains, groups and hosts, checked before anything is asked, and the paths
 * they stand in.
 *
 * The same rule as droverd's (docs/openapi.yaml).  It is checked here too because a name that is
 * none must not become another path on its way: "" , "../nodes", "web?x".
 */
#include "cmd/drover/drover.h"

#include "conf/domain.h"

#include <string.h>

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

int name_check(const char *what, const char *name)
{
	size_t i, len = strlen(name);

	if (len < 1 || len > DOMAIN_NAME_MAX)
		return say_error(EXIT_USAGE, "%s '%.80s': %zu characters, expected 1 to %d", what, name, len,
				 DOMAIN_NAME_MAX);
	for (i = 0; i < len; i++)
		if (!is_word_char(name[i]) && !strchr("-_.", name[i]))
			return say_error(EXIT_USAGE, "%s '%s': expected letters, digits, '-', '_' and '.'",
					 what, name);
	if (!is_word_char(name[0]))
		return say_error(EXIT_USAGE, "%s '%s': expected a letter or a digit first", what, name);
	return EXIT_OK;
}

void url_add(char *url, size_t size, const char *word)
{
	size_t used = strlen(url);

	if (used && url[used - 1] != '=' && used + 1 < size)
		url[used++] = '/';
	for (; *word && used + 4 < size; word++)
		used += (size_t)snprintf(url + used, size - used,
					 is_word_char(*word) || strchr("-_.~", *word) ? "%c" : "%%%02X",
					 (unsigned char)*word);
	url[used] = '\0';
}
