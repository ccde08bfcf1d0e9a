/* SPDX-License-Identifier: Apache-2.0 */
/* Images that have only what differs from another one: what shows where, and which parents are none. */
#include "disk_bed.h"

#include <errno.h>
#include <sys/stat.h>

#define MIB (1ull << 20)

struct chain {
	int fd[3]; /* grandchild, child, parent */
	struct block_parent up[2];
};

static void chain_make(struct chain *c, enum vhd_kind root)
{
	struct block *b;

	for (int i = 0; i < 3; i++)
		c->fd[i] = bed_file();
	bed_create(c->fd[2], root, 20 * MIB, 0);
	b = bed_open(c->fd[2], false);
	bed_put(b, 0, 8 * MIB, 1);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	bed_create_on(c->fd[1], c->fd[2], 65536);
	c->up[0] = (struct block_parent){ c->fd[1], "child.vhd" };
	c->up[1] = (struct block_parent){ c->fd[2], "parent.vhd" };
}

static struct block *chain_open(const struct chain *c, int which, bool readonly)
{
	struct block_open_args a = {
		.fd = c->fd[which],
		.path = which ? "child.vhd" : "grandchild.vhd",
		.readonly = readonly,
		.depth = BED_DEPTH,
		.parents = c->up + which,
		.n_parents = 2 - (unsigned int)which,
	};

	return bed_open_on(&a);
}

static void chain_end(struct chain *c)
{
	for (int i = 0; i < 3; i++)
		close(c->fd[i]);
}

static void test_a_child_shows_its_parent_where_it_has_nothing(void **state)
{
	static const enum vhd_kind roots[] = { VHD_FIXED, VHD_DYNAMIC };

	(void)state;
	for (int k = 0; k < 2; k++) {
		struct chain c;
		struct block *b;

		chain_make(&c, roots[k]);
		b = chain_open(&c, 1, false);
		bed_expect(b, 0, 8 * MIB, 1);
		bed_expect(b, 8 * MIB, 8 * MIB, 0);
		bed_put(b, 512, 512, 2);
		bed_put(b, 65536 * 3 - 512, 65536 + 1024, 2);
		bed_put(b, 12 * MIB, 4096, 2);
		assert_int_equal(bed_do(b, BLOCK_ZERO, MIB, 1536, NULL), 0);
		for (int again = 0; again < 2; again++) {
			bed_expect(b, 0, 512, 1);
			bed_expect(b, 512, 512, 2);
			bed_expect(b, 1024, 65536 * 3 - 1536, 1);
			bed_expect(b, 65536 * 3 - 512, 65536 + 1024, 2);
			bed_expect(b, 65536 * 4 + 512, MIB - 65536 * 4 - 512, 1);
			bed_expect(b, MIB, 1536, 0);
			bed_expect(b, MIB + 1536, 65536, 1);
			bed_expect(b, 12 * MIB, 4096, 2);
			bed_expect(b, 12 * MIB + 4096, 65536, 0);
			assert_int_equal(block_flush(b, NULL), 0);
			block_close(b);
			b = chain_open(&c, 1, again);
		}
		block_close(b);
		chain_end(&c);
	}
}

static void test_a_chain_of_three(void **state)
{
	struct chain c;
	struct block *b;

	(void)state;
	chain_make(&c, VHD_DYNAMIC);
	b = chain_open(&c, 1, false);
	bed_put(b, 4096, 4096, 2);
	assert_int_equal(block_flush(b, NULL), 0);
	block_close(b);
	bed_create_on(c.fd[0], c.fd[1], 4096);
	b = chain_open(&c, 0, false);
	bed_put(b, 6144, 4096, 3);
	bed_expect(b, 0, 4096, 1);
	bed_expect(b, 4096, 2048, 2);
	bed_expect(b, 6144, 4096, 3);
	bed_expect(b, 10240, 65536, 1);
	assert_int_equal(block_flush(b, NULL), 0);
	bed_expect(b, 6144, 4096, 3);
	block_close(b);
	chain_end(&c);
}

static int chain_refused(const struct block_open_args *a, const char *why)
{
	struct err e = { 0 };
	struct block *b = NULL;
	int ret = block_open_on("vhd", a, &b, &e);

	assert_int_not_equal(ret, 0);
	if (!strstr(e.text, why))
		fail_msg("'%s' in: %s", why, e.text);
	return ret;
}

static void test_a_parent_that_is_not_the_one_is_refused_by_name(void **state)
{
	struct chain c;
	struct block_open_args a = { .path = "child.vhd", .depth = BED_DEPTH };
	struct timespec when[2] = { { .tv_sec = 1000000000 }, { .tv_sec = 1000000000 } };
	int other = bed_file();
	struct block_parent wrong = { other, "other.vhd" }, self;

	(void)state;
	chain_make(&c, VHD_DYNAMIC);
	a.fd = c.fd[1];
	assert_int_equal(chain_refused(&a, "'./parent.vhd', which was not given"), -ENOENT);
	bed_create(other, VHD_DYNAMIC, 20 * MIB, 0);
	a.parents = &wrong;
	a.n_parents = 1;
	assert_int_equal(chain_refused(&a, "it is another image"), -ESTALE);
	self = (struct block_parent){ a.fd, "link.vhd" };
	a.parents = &self;
	assert_int_equal(chain_refused(&a, "is its own parent: link.vhd"), -ELOOP);
	a.parents = &c.up[1];
	assert_int_equal(futimens(c.fd[2], when), 0);
	assert_int_equal(chain_refused(&a, "was changed at 1000000000"), -ESTALE);
	a.fd = other;
	assert_int_equal(chain_refused(&a, "has no parent, but parent.vhd was given"), -EINVAL);
	close(other);
	chain_end(&c);
}

/* A file out of an archive that has no times. */
static void test_a_parent_may_be_older_than_the_format(void **state)
{
	struct timespec when[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct chain c;

	(void)state;
	chain_make(&c, VHD_DYNAMIC);
	assert_int_equal(futimens(c.fd[2], when), 0);
	bed_create_on(c.fd[0], c.fd[2], 0);
	c.up[0] = c.up[1];
	block_close(bed_open_on(&(struct block_open_args){
		.fd = c.fd[0], .path = "child.vhd", .depth = BED_DEPTH, .parents = c.up, .n_parents = 1 }));
	chain_end(&c);
}

static void test_where_a_parent_is(void **state)
{
	struct chain c;
	struct vhd_parent p;
	struct vhd_new n = { .kind = VHD_DIFFERENCING, .parent = "/srv/\xc3\xa4 \xf0\x9f\x90\x91/base.vhd" };
	struct err e = { 0 };

	(void)state;
	chain_make(&c, VHD_DYNAMIC);
	assert_int_equal(vhd_parent_of(c.fd[1], "child.vhd", &p, &e), 0);
	assert_string_equal(p.relative, "./parent.vhd");
	assert_string_equal(p.name, "parent.vhd");
	assert_string_equal(p.absolute, "");
	assert_memory_equal(p.id, bed_info(c.fd[2]).id, 16);
	assert_int_equal(vhd_parent_of(c.fd[2], "parent.vhd", &p, &e), -ENOENT);
	n.parent_fd = c.fd[2];
	assert_int_equal(vhd_create(c.fd[0], "x.vhd", &n, NULL, &e), 0);
	assert_int_equal(vhd_parent_of(c.fd[0], "x.vhd", &p, &e), 0);
	assert_string_equal(p.absolute, n.parent);
	assert_string_equal(p.name, "base.vhd");
	chain_end(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_child_shows_its_parent_where_it_has_nothing),
		cmocka_unit_test(test_a_chain_of_three),
		cmocka_unit_test(test_a_parent_that_is_not_the_one_is_refused_by_name),
		cmocka_unit_test(test_a_parent_may_be_older_than_the_format),
		cmocka_unit_test(test_where_a_parent_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
