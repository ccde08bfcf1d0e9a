/* SPDX-License-Identifier: Apache-2.0 */
/* check - see check.h. */
#include "conf/check.h"

#include "base/hex.h"
#include "conf/units.h"

#include <assert.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

static bool is_word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_name(const char *s, size_t max)
{
	size_t len = strlen(s);

	if (!len || len > max || !is_word_char(s[0]))
		return false;
	for (; *s; s++)
		if (!is_word_char(*s) && !strchr("-_.", *s))
			return false;
	return true;
}

int check_name(const struct tree *t, const struct tree_node *n, struct err *e)
{
	if (is_name(n->value, CHECK_NAME_MAX))
		return 0;
	return tree_fail(t, n, e, "got '%.80s', expected up to %d letters, digits, '-', '_', '.', "
				  "starting with a letter or digit",
			 n->value, CHECK_NAME_MAX);
}

/*
 * Besides ASCII's: the C1 set, U+FFFE, U+FFFF and the byte order mark, which an
 * escape can bring in ("\x82") but which YAML does not take unescaped (YAML
 * 1.1 5.1).  The text is valid UTF-8: libyaml made it.
 */
static bool has_control(const char *text)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
		if (*s < ' ' || *s == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0))
			return true;
		if (s[0] == 0xef && ((s[1] == 0xbf && s[2] >= 0xbe) ||
				     (s[1] == 0xbb && s[2] == 0xbf)))
			return true;
	}
	return false;
}

int check_line(const struct tree *t, const struct tree_node *n, struct err *e)
{
	if (!has_control(n->value))
		return 0;
	return tree_fail(t, n, e, "has a control character in it, expected one line of text");
}

int check_path(const struct tree *t, const struct tree_node *n, struct err *e)
{
	if (n->value[0] == '/' && !has_control(n->value))
		return 0;
	return tree_fail(t, n, e, "got '%.100s', expected an absolute path", n->value);
}

int check_ifname(const struct tree *t, const struct tree_node *n, struct err *e)
{
	/* As dev_valid_name() in the kernel; a '%' would be taken for a pattern. */
	size_t len = strlen(n->value);

	if (len && len < IFNAMSIZ && !has_control(n->value) && !strpbrk(n->value, "/: %") &&
	    strcmp(n->value, ".") && strcmp(n->value, ".."))
		return 0;
	return tree_fail(t, n, e, "got '%.40s', expected the name of a network device, "
				  "up to %d characters",
			 n->value, IFNAMSIZ - 1);
}

int check_host(const struct tree *t, const struct tree_node *n, struct err *e)
{
	unsigned char addr[16];

	if (inet_pton(AF_INET, n->value, addr) == 1 || inet_pton(AF_INET6, n->value, addr) == 1)
		return 0;
	/* A name of digits and dots only is a mistyped address. */
	if (is_name(n->value, 253) && n->value[strspn(n->value, "0123456789.")])
		return 0;
	return tree_fail(t, n, e, "got '%.80s', expected an IP address or a host name", n->value);
}

/* RFC 1122 3.2.1.3: "this network", loopback, multicast and above (class E, broadcast). */
static bool is_hosts_v4(const uint8_t *a)
{
	return a[0] && a[0] != 127 && a[0] < 224;
}

/* RFC 4291 2.4, 2.5.5: not ::/96 (unspecified, loopback), not an IPv4 address in other clothes, no multicast. */
static bool is_hosts_v6(const uint8_t *a)
{
	static const uint8_t zero[12];

	return a[0] != 0xff && memcmp(a, zero, 12) != 0 && !(!memcmp(a, zero, 10) && a[10] == 0xff && a[11] == 0xff);
}

int check_ip(const struct tree *t, const struct tree_node *n, bool *v6, uint8_t bytes[16], struct err *e)
{
	memset(bytes, 0, 16);
	*v6 = inet_pton(AF_INET6, n->value, bytes) == 1;
	if (*v6 ? is_hosts_v6(bytes) : inet_pton(AF_INET, n->value, bytes) == 1 && is_hosts_v4(bytes))
		return 0;
	return tree_fail(t, n, e, "got '%.60s', expected a host's address such as 10.0.0.5 or 2001:db8::5", n->value);
}

int check_size(const struct tree *t, const struct tree_node *n, uint64_t min, uint64_t max,
	       uint64_t align, uint64_t *out, struct err *e)
{
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];
	int rc = units_parse_size(n->value, out);

	assert(align && min <= max && n->kind == TREE_SCALAR);
	if (rc == -EINVAL)
		return tree_fail(t, n, e, "got '%.40s', expected a size such as 512M or 4G",
				 n->value);
	if (rc || *out < min || *out > max)
		return tree_fail(t, n, e, "got '%.40s', expected %s to %s", n->value,
				 units_print_size(min, a), units_print_size(max, b));
	if (*out % align)
		return tree_fail(t, n, e, "got '%.40s', expected a multiple of %s", n->value,
				 units_print_size(align, a));
	return 0;
}

int check_ms(const struct tree *t, const struct tree_node *n, uint64_t min, uint64_t max,
	     uint64_t *out, struct err *e)
{
	char a[UNITS_TEXT_MAX], b[UNITS_TEXT_MAX];
	int rc = units_parse_ms(n->value, out);

	assert(min <= max && n->kind == TREE_SCALAR);
	if (rc == -EINVAL)
		return tree_fail(t, n, e, "got '%.40s', expected a time such as 250ms or 20s",
				 n->value);
	if (rc || *out < min || *out > max)
		return tree_fail(t, n, e, "got '%.40s', expected %s to %s", n->value,
				 units_print_ms(min, a), units_print_ms(max, b));
	return 0;
}

/* Read @n bytes of two digits; @breaks has bit i set when @mark stands before byte i. */
static bool parse_hex(const char *s, uint8_t *out, size_t n, uint32_t breaks, char mark)
{
	for (size_t i = 0; i < n; i++) {
		int byte;

		if ((breaks >> i & 1) && *s++ != mark)
			return false;
		byte = hex_byte(s);
		if (byte < 0)
			return false;
		out[i] = (uint8_t)byte;
		s += 2;
	}
	return *s == '\0';
}

static bool all_zero(const uint8_t *p, size_t n)
{
	while (n--)
		if (*p++)
			return false;
	return true;
}

int check_mac(const struct tree *t, const struct tree_node *n, uint8_t mac[6], struct err *e)
{
	if (!parse_hex(n->value, mac, 6, 0x3e, ':'))
		return tree_fail(t, n, e, "got '%.40s', expected a MAC address such as "
					  "52:54:00:12:34:56",
				 n->value);
	if ((mac[0] & 1) || all_zero(mac, 6))
		return tree_fail(t, n, e, "got '%.40s', expected a unicast MAC address "
					  "(first byte even, not all zero)",
				 n->value);
	return 0;
}

bool uuid_parse(const char *text, uint8_t uuid[16])
{
	return parse_hex(text, uuid, 16, 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10, '-') && !all_zero(uuid, 16);
}

int check_uuid(const struct tree *t, const struct tree_node *n, uint8_t uuid[16], struct err *e)
{
	if (uuid_parse(n->value, uuid))
		return 0;
	return tree_fail(t, n, e, "got '%.60s', expected a UUID such as "
				  "3f2a7c1e-9d4b-4f60-8a57-0c1d2e3f4a5b",
			 n->value);
}

void path_plain(const char *path, char out[CHECK_PATH_MAX + 1])
{
	size_t used = 0, len;

	for (; *path; path += len) {
		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (!len || (len == 1 && *path == '.') || used + 1 + len > CHECK_PATH_MAX)
			continue;
		out[used++] = '/';
		memcpy(out + used, path, len);
		used += len;
	}
	out[used] = '\0';
}

void print_quoted(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			fprintf(f, "\\x%02x", (unsigned char)*s);
		else if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else
			fputc(*s, f);
	}
	fputc('"', f);
}

void print_text(FILE *f, const char *key, const char *value)
{
	if (!value)
		return;
	fputs(key, f);
	print_quoted(f, value);
	fputc('\n', f);
}
