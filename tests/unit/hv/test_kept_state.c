/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_kept_state - the device state of a kept stream (tests/streams/README.md) is still that of a
 * machine, field by field; and no count in it can be a lie.
 *
 *   test_kept_state DIR   holds control.src of a machine, and its name says of which:
 *
 *       1-machine    two vCPUs, a disk, a NIC and entropy
 *       1-firmware   the same, beginning in firmware
 *       1-screen     two vCPUs, a screen and a port for an agent
 *
 * It is checked, not loaded: the processor it came from may have been another one.
 */
#include "tests/unit/hv/machine_bed.h"

#include "base/counted.h"
#include "migrate/wire/wire.h"

#include <errno.h>
#include <sched.h>

#define STATE_AT 8u /* what the guest's door puts in front: cmd/drover-hv/guest_kvm.c */
#define HEAD 8u     /* "DRVS", version, records */

static const char *dir;
static uint8_t kept[1 << 20];
static size_t kept_len;

static bool is(const char *what)
{
	return strstr(dir, what) != NULL;
}

/* --- the kept stream --- */

static size_t read_control(uint8_t *buf, size_t size)
{
	char path[512];
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/control.src", dir);
	f = fopen(path, "rb");
	print_message("%s\n", path);
	assert_non_null(f);
	len = fread(buf, 1, size, f);
	fclose(f);
	assert_in_range(len, 1, size - 1);
	return len;
}

static int load_kept(void **state)
{
	static uint8_t control[1 << 20];
	size_t len = read_control(control, sizeof(control)), at;
	struct wire_state_part part;
	struct wire_header h;
	struct reader r;

	kept_len = 0;
	for (at = 0; at < len; at += WIRE_HEADER_SIZE + h.length) {
		assert_int_equal(wire_get_header(control + at, &h, NULL), 0);
		if (h.type != WIRE_DEV_STATE)
			continue;
		r = reader_make(control + at + WIRE_HEADER_SIZE, h.length);
		wire_get_state_part(&r, &part);
		memcpy(kept + kept_len, part.bytes, part.len);
		kept_len += part.len;
	}
	assert_true(kept_len > STATE_AT + HEAD);
	return 0;
}

/* --- a machine like it --- */

struct twin {
	struct box b;
	char disk[64], rom[64];
};

static void file_make(char *path, const char *name, off_t size)
{
	int fd;

	sprintf(path, "/tmp/drover-kept-%s-XXXXXX", name);
	fd = mkstemp(path);
	assert_true(fd >= 0 && ftruncate(fd, size) == 0);
	close(fd);
}

static void twin_open(struct twin *t)
{
	static const uint8_t halt[] = { 0xf4 };
	struct machine_options o = { .event = on_event, .arg = &t->b };
	struct domain_conf *c;
	char yaml[512];
	struct err e;

	memset(t, 0, sizeof(*t));
	file_make(t->disk, "disk", 1 << 20);
	file_make(t->rom, "rom", 256 << 10);
	c = make_domain(halt, sizeof(halt), 2);
	if (is("1-screen"))
		snprintf(yaml, sizeof(yaml), "name: web\nmemory: 8M\nvcpus: 2\nkernel: %s\nrng: false\ndisplay:\n  memory: 4M\nguest_agent: true\n",
			 c->kernel);
	else
		snprintf(yaml, sizeof(yaml), "name: web\nmemory: 8M\nvcpus: 2\n%s: %s\ndisks:\n  - path: %s\nnics:\n  - mac: 52:54:00:00:00:01\n",
			 is("1-firmware") ? "firmware_image" : "kernel", is("1-firmware") ? t->rom : c->kernel, t->disk);
	if (is("1-firmware"))
		unlink(c->kernel); /* nobody's */
	domain_conf_free(c);
	if (domain_conf_parse("web", yaml, strlen(yaml), &t->b.conf, &e))
		fail_msg("%s", e.text);
	o.conf = t->b.conf;
	if (machine_create(&t->b.m, &o, &e))
		fail_msg("%s", e.text);
}

static void twin_close(struct twin *t)
{
	box_close(&t->b);
	unlink(t->disk);
	unlink(t->rom);
}

/* --- records --- */

/* The next record of @r, which must be @s's. */
static struct reader record_of(struct reader *r, const struct state_entry *s, uint16_t *version)
{
	uint8_t n = reader_u8(r);
	const uint8_t *name = reader_take(r, n), *body;
	uint32_t len;

	assert_int_equal(n, strlen(s->instance));
	assert_memory_equal(name, s->instance, n);
	*version = reader_u16(r);
	len = reader_u32(r);
	body = reader_take(r, len);
	assert_non_null(body);
	return reader_make(body, len);
}

static struct reader kept_records(void)
{
	return reader_make(kept + STATE_AT + HEAD, kept_len - STATE_AT - HEAD);
}

static void a_kept_state_is_that_of_a_machine(void **state)
{
	const struct state_entry *s = NULL;
	struct machine_device *d = NULL;
	struct reader r = kept_records(), body;
	uint16_t version;
	struct twin t;
	struct err e;

	twin_open(&t);
	while ((s = machine_entry_next(t.b.m, &d, s))) {
		body = record_of(&r, s, &version);
		if (state_check_one(s, version, &body, &e))
			fail_msg("%s", e.text);
	}
	assert_int_equal(reader_left(&r), 0);
	twin_close(&t);
}

/* --- counts that lie --- */

struct bed {
	const struct state_entry *s;
	uint8_t copy[65536];
	size_t len;
};

/* With @count in the field at @at, all the rest as it was. */
static void count_refused(struct bed *b, size_t at, uint32_t count, const char *why)
{
	struct reader r = reader_make(b->copy, b->len);
	uint32_t good, le = htole32(count);
	char text[480];
	struct err e;

	memcpy(&good, b->copy + at + 4, 4);
	memcpy(b->copy + at + 4, &le, 4);
	assert_int_equal(state_check_one(b->s, 1, &r, &e), -EINVAL);
	memcpy(b->copy + at + 4, &good, 4);
	snprintf(text, sizeof(text), "%s: ", b->s->instance);
	if (strncmp(e.text, text, strlen(text)) || !strstr(e.text, why))
		fail_msg("'%s', expected '%s%s'", e.text, text, why);
}

static void array_refused(struct bed *b, const struct state_field *f, size_t at, uint32_t n)
{
	char why[480];

	snprintf(why, sizeof(why), "%s: %u elements there, room for %u here", f->name, f->count + 1u, f->count);
	count_refused(b, at, f->count + 1u, why);
	snprintf(why, sizeof(why), "%s: 4294967295 elements there, room for %u here", f->name, f->count);
	count_refused(b, at, UINT32_MAX, why);
	if (!f->array) {
		snprintf(why, sizeof(why), "%s: 0 elements, expected 1", f->name);
		count_refused(b, at, 0, why);
	}
	/* Cut behind it, and one short: fewer bytes than it says. */
	if (n) {
		size_t len = b->len;

		b->len = at + 2 + COUNTED_HEAD + (size_t)n * f->size - 1;
		snprintf(why, sizeof(why), "%s: %u elements of %u bytes, but %zu bytes are left", f->name, n, f->size,
			 (size_t)n * f->size - 1);
		count_refused(b, at, n, why);
		b->len = len;
	}
}

/* Each field alone with nothing in it: fine for an array. */
static void nothing_is_fine(struct bed *b, const struct state_field *f, size_t at)
{
	uint8_t alone[2 + COUNTED_HEAD];
	struct reader r = reader_make(alone, sizeof(alone));
	int ret;

	memcpy(alone, b->copy + at, 4);
	memset(alone + 4, 0, 4);
	ret = state_check_one(b->s, 1, &r, NULL);
	assert_int_equal(ret, f->array ? 0 : -EINVAL);
}

static void no_array_of_any_device_believes_its_count(void **state)
{
	const struct state_entry *s = NULL;
	struct machine_device *d = NULL;
	struct reader r = kept_records(), body;
	const struct state_field *f;
	unsigned int arrays = 0;
	static struct bed b;
	uint16_t version;
	struct twin t;
	uint32_t n;
	size_t at;

	twin_open(&t);
	while ((s = machine_entry_next(t.b.m, &d, s))) {
		body = record_of(&r, s, &version);
		b.s = s;
		b.len = reader_left(&body);
		assert_in_range(b.len, 1, sizeof(b.copy));
		memcpy(b.copy, body.p, b.len);
		for (at = 0; at < b.len; at += 2 + COUNTED_HEAD + (size_t)n * f->size) {
			f = &s->desc->fields[b.copy[at] | b.copy[at + 1] << 8];
			memcpy(&n, b.copy + at + 4, 4);
			array_refused(&b, f, at, n);
			nothing_is_fine(&b, f, at);
			arrays += f->array;
		}
	}
	assert_true(arrays > 40);
	twin_close(&t);
}

/* The last count of all lies: the first device has not been touched by then. */
static void a_lie_in_the_last_record_leaves_the_first_as_it_was(void **state)
{
	struct twin t;
	uint8_t *buf;
	size_t len, at;
	json_t *j;
	struct err e = { 0 };

	twin_open(&t);
	assert_int_equal(machine_save(t.b.m, &buf, &len, &e), 0);
	for (at = 0; memcmp(buf + at, "\x07serial0", 8); at++)
		assert_true(at + 8 < len);
	at += 8 + 2 + 4; /* ier: tag, size, count, value */
	assert_memory_equal(buf + at, "\0\0\1\0\1\0\0\0\0", 9);
	buf[at + 8] = 5;
	assert_memory_equal(buf + len - 10, "\x14\0\1\0\2\0\0\0", 8); /* rng0: two vectors, raised while masked */
	buf[len - 6] = 3;
	assert_int_equal(machine_load(t.b.m, buf, len, &e), -EINVAL);
	assert_non_null(strstr(e.text, "rng0: pci.msix_pending: 3 elements of 1 bytes, but 2 bytes are left"));
	j = machine_print(t.b.m, "serial0");
	assert_int_equal(json_integer_value(json_object_get(j, "ier")), 0);
	json_decref(j);
	free(buf);
	twin_close(&t);
}

/* A NIC makes a tap device: not in the network of whoever runs the tests. */
static bool own_network(void)
{
	if (!unshare(CLONE_NEWNET) || !unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return true;
	printf("SKIP: no network namespace of its own here\n");
	return false;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kept_state_is_that_of_a_machine),
		cmocka_unit_test(no_array_of_any_device_believes_its_count),
	};
	const struct CMUnitTest plain[] = {
		cmocka_unit_test(a_lie_in_the_last_record_leaves_the_first_as_it_was),
	};
	int ret;

	if (argc != 2) {
		fprintf(stderr, "usage: test_kept_state DIR\n");
		return 2;
	}
	dir = argv[1];
	if (!box_has_kvm() || !own_network())
		return 77;
	ret = cmocka_run_group_tests(tests, load_kept, NULL);
	return ret || !is("1-machine") ? ret : cmocka_run_group_tests(plain, load_kept, NULL);
}
