/* SPDX-License-Identifier: Apache-2.0 */
/* api_url - see api_url.h. */
#include "ha/api_url.h"

#include "base/number.h"

#include <errno.h>
#include <string.h>

int api_url_decode(char *word, struct err *e)
{
	char *to = word;
	int hi, lo;

	for (; *word; word++, to++) {
		*to = *word;
		if (*word != '%')
			continue;
		hi = number_hex_digit(word[1]);
		lo = hi < 0 ? -1 : number_hex_digit(word[2]);
		if (lo < 0 || (hi == 0 && lo == 0))
			return err_set(e, -EINVAL, "URL: expected two hexadecimal digits, not 00, behind '%%'");
		*to = (char)(hi << 4 | lo);
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
