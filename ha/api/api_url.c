/* SPDX-License-Identifier: Apache-2.0 */
/* api_url - see api_url.h. */
#include "ha/api/api_url.h"

#include "base/hex.h"

#include <errno.h>
#include <string.h>

int api_url_decode(char *word, struct err *e)
{
	char *to = word;
	int byte;

	for (; *word; word++, to++) {
		*to = *word;
		if (*word != '%')
			continue;
		byte = hex_byte(word + 1);
		if (byte <= 0)
			return err_set(e, -EINVAL, "URL: expected two hexadecimal digits, not 00, behind '%%'");
		*to = (char)byte;
		word += 2;
	}
	*to = '\0';
	return 0;
}

int api_url_split(char *path, char *words[], int max, struct err *e)
{
	char *rest = path + 4;
	int n, rc;

	if (strncmp(path, "/v1/", 4) != 0)
		return -ENOENT;
	for (n = 0; rest; n++) {
		if (n == max)
			return -ENOENT;
		words[n] = strsep(&rest, "/");
		rc = api_url_decode(words[n], e);
		if (rc < 0)
			return rc;
	}
	return n;
}
