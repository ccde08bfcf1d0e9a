/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a disk in two steps, what its record, its storage and its contents say, and giving it back. */
#include "driver.h"

#include "hv/disk/disk_format.h"
#include "hv/disk/disk_lock.h"
#include "hv/disk/disk_mounted.h"
#include "hv/disk/disk_store.h"
#include "hv/virtio/virtio_blk_int.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#define DISK_SIZE (1u << 20)

static char disk[64], record[80], room[96];
static int flushes, flush_fails; /* calls of fdatasync(); how many of the next ones fail */

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	flushes++;
	if (!flush_fails)
		return __real_fdatasync(fd);
	flush_fails--;
	errno = EIO;
	return -1;
}

/* What several hosts may have cannot be had in a unit test; that it is so can be said. */
static bool shared;

int __real_disk_store_of(int fd, struct disk_store *out, struct err *e);
int __wrap_disk_store_of(int fd, struct disk_store *out, struct err *e);

int __wrap_disk_store_of(int fd, struct disk_store *out, struct err *e)
{
	int ret = __real_disk_store_of(fd, out, e);

	if (shared) {
		out->shared = true;
		snprintf(out->type, sizeof(out->type), "nfs4");
	}
	return ret;
}

static struct disk_holder holder(const char *cluster, uint64_t incarnation)
{
	struct disk_holder h = { .pid = getpid(), .incarnation = incarnation };

	snprintf(h.domain, sizeof(h.domain), "web");
	snprintf(h.host, sizeof(h.host), "n1");
	snprintf(h.cluster, sizeof(h.cluster), "%s", cluster);
	memset(h.uuid, 0x5a, sizeof(h.uuid));
	return h;
}

static void put(const char *bytes, size_t len, off_t at)
{
	int fd = open(disk, O_WRONLY);

	assert_int_equal(pwrite(fd, bytes, len, at), len);
	close(fd);
}

static int setup(void **state)
{
	int fd;

	snprintf(disk, sizeof(disk), "disk-test-%d.img", (int)getpid());
	snprintf(record, sizeof(record), "%s.drover", disk);
	snprintf(room, sizeof(room), "%s.new", record);
	flushes = flush_fails = 0;
	shared = false;
	fd = open(disk, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, DISK_SIZE))
		return -1;
	close(fd);
	return 0;
}

static int teardown(void **state)
{
	unlink(disk);
	unlink(record);
	rmdir(room);
	return 0;
}

/* --- two steps --- */

static void test_prepare_writes_no_record_and_can_be_undone(void **state)
{
	struct disk_lock *l, *other;
	struct err e;

	assert_int_equal(disk_lock_prepare(disk, false, NULL, &l, &e), 0);
	assert_null(disk_lock_last(l));
	assert_int_equal(access(record, F_OK), -1);
	assert_int_equal(disk_lock_prepare(disk, false, NULL, &other, &e), -EBUSY);
	disk_lock_release(l);
	assert_int_equal(access(record, F_OK), -1);
	assert_int_equal(access(room, F_OK), -1);
}

static void test_a_record_that_cannot_be_written_is_found_before(void **state)
{
	struct disk_lock *l;
	struct err e = { 0 };

	assert_int_equal(mkdir(room, 0700), 0);
	assert_int_equal(disk_lock_prepare(disk, false, NULL, &l, &e), -EISDIR);
	assert_non_null(strstr(e.text, "the record of who holds it"));
}

static void test_undo_puts_the_record_back(void **state)
{
	struct disk_holder one = holder("", 1), two = holder("", 2), seen;
	struct disk_lock *l;
	struct err e;

	assert_int_equal(disk_lock_prepare(disk, false, NULL, &l, &e), 0);
	assert_int_equal(disk_lock_commit(l, &one, &e), 0);
	assert_int_equal(disk_lock_undo(l, &e), 0);
	assert_int_equal(disk_lock_record(disk, NULL, &seen, &e), -ENOENT);
	assert_int_equal(disk_lock_commit(l, &one, &e), 0);
	disk_lock_release(l);
	assert_int_equal(disk_lock_prepare(disk, false, NULL, &l, &e), 0);
	assert_int_equal(disk_lock_last(l)->incarnation, 1);
	assert_int_equal(disk_lock_commit(l, &two, &e), 0);
	assert_int_equal(disk_lock_undo(l, &e), 0);
	assert_int_equal(disk_lock_record(disk, NULL, &seen, &e), 0);
	assert_int_equal(seen.incarnation, 1);
	disk_lock_release(l);
}

static void test_rule_h_taking_back_under_a_higher_number_needs_an_untouched_record(void **state)
{
	struct disk_holder source = holder("", 1), target = holder("", 2), back = holder("", 3);
	struct disk_lock *l;
	struct err e;

	assert_int_equal(disk_lock_take(disk, false, &source, NULL, &l, &e), 0);
	disk_lock_release(l);
	assert_int_equal(disk_lock_prepare(disk, false, NULL, &l, &e), 0);
	assert_int_equal(disk_lock_check(l, &back, 1, &e), 0);
	disk_lock_release(l);
	assert_int_equal(disk_lock_take(disk, false, &target, NULL, &l, &e), 0);
	disk_lock_release(l);
	assert_int_equal(disk_lock_prepare(disk, false, NULL, &l, &e), 0);
	assert_int_equal(disk_lock_check(l, &back, 1, &e), -EPERM);
	disk_lock_release(l);
}

static void test_the_path_may_change_but_not_the_disk(void **state)
{
	struct disk_holder h = holder("", 1);
	struct disk_lock *l;
	struct stat st, other;
	char moved[80];
	struct err e;

	snprintf(moved, sizeof(moved), "%s.moved", disk);
	assert_int_equal(disk_lock_take(disk, false, &h, NULL, &l, &e), 0);
	assert_int_equal(rename(disk, moved), 0);
	assert_int_equal(setup(state), 0);
	assert_int_equal(fstat(disk_lock_fd(l), &st), 0);
	assert_int_equal(stat(moved, &other), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	disk_lock_release(l);
	unlink(moved);
}

static void test_a_probe_locks_nothing_and_leaves_nothing(void **state)
{
	struct disk_holder h = holder("", 1);
	struct disk_lock *l;
	struct err e = { 0 };
	int fd;

	assert_int_equal(disk_lock_probe(disk, false, NULL, &fd, &e), 0);
	close(fd);
	assert_int_equal(access(record, F_OK), -1);
	/* Also while it is in use, whose room it does not touch. */
	assert_int_equal(disk_lock_prepare(disk, false, NULL, &l, &e), 0);
	assert_int_equal(disk_lock_probe(disk, false, NULL, &fd, &e), 0);
	close(fd);
	assert_int_equal(disk_lock_commit(l, &h, &e), 0);
	disk_lock_release(l);
	assert_int_equal(disk_lock_probe("/no/such/disk", false, NULL, &fd, &e), -ENOENT);
	assert_int_equal(disk_lock_probe("/dev/null", false, NULL, &fd, &e), -EINVAL);
}

static void test_a_fifo_keeps_nobody(void **state)
{
	struct disk_lock *l;
	struct err e;

	unlink(disk);
	assert_int_equal(mkfifo(disk, 0600), 0);
	assert_int_equal(disk_lock_prepare(disk, true, NULL, &l, &e), -EINVAL);
}

static void test_no_disk_is_open_nonblocking(void **state)
{
	struct disk_lock *l;
	struct err e;

	for (int readonly = 0; readonly < 2; readonly++) {
		assert_int_equal(disk_lock_prepare(disk, readonly, NULL, &l, &e), 0);
		assert_false(fcntl(disk_lock_fd(l), F_GETFL) & O_NONBLOCK);
		disk_lock_release(l);
	}
}

/* --- whose disk it is --- */

static int claim(const char *cluster, uint64_t incarnation, struct err *e)
{
	struct disk_holder h = holder(cluster, incarnation);
	struct disk_lock *l;
	int ret = disk_lock_take(disk, false, &h, NULL, &l, e);

	if (!ret)
		disk_lock_release(l);
	return ret;
}

static void test_no_number_makes_another_clusters_disk_ours(void **state)
{
	struct err e = { 0 };

	assert_int_equal(claim("old", 3, &e), 0);
	for (uint64_t i = 1; i < 8; i++) { /* each try of a cluster counts one up */
		assert_int_equal(claim("new", i, &e), -EPERM);
		assert_non_null(strstr(e.text, "drover-hv adopt"));
		assert_non_null(strstr(e.text, "cluster old"));
		assert_int_equal(claim("", i, &e), -EPERM);
	}
	assert_int_equal(claim("old", 4, &e), 0);
	assert_int_equal(claim("old", 3, &e), -EPERM);
}

static void test_a_disk_that_no_cluster_counted_may_enter_one(void **state)
{
	struct err e;

	assert_int_equal(claim("", 7, &e), 0);
	assert_int_equal(claim("new", 1, &e), 0);
	assert_int_equal(claim("", 8, &e), -EPERM);
}

/* --- storage --- */

static const char mounts[] =
	"21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
	"22 21 0:40 / /nfs3 rw - nfs srv:/a rw,vers=3,proto=tcp,local_lock=none\n"
	"23 21 0:41 / /nfs4 rw shared:2 master:3 - nfs4 srv:/a rw,vers=4.2,local_lock=none\n"
	"24 21 0:42 / /nfsl rw - nfs4 srv:/a rw,vers=4.2,local_lock=posix\n"
	"25 21 0:43 / /9 rw - 9p host rw,trans=virtio\n"
	"26 21 253:1 / /gfs rw - gfs2 /dev/dm-1 rw\n"
	"27 21 0:44 / /smb rw - cifs //srv/a rw,nobrl,vers=3.1\n"
	"28 21 0:45 / /odd rw\n"
	"29 21 0:46 / /ssh rw - fuse.sshfs srv:/a rw,user_id=0\n"
	"30 21 0:47 / /gl rw - fuse.glusterfs srv:/a rw,user_id=0\n"
	"31 21 0:48 / /nfs rw - nfs srv:/a rw,vers=4.1,local_lock=none";

static void test_what_a_mount_says_of_its_locks(void **state)
{
	static const struct {
		uint64_t id;
		const char *type;
		bool shared, locks, known;
	} want[] = {
		{ 21, "ext4", false, true, true },
		{ 22, "nfs", true, false, false },
		{ 23, "nfs4", true, true, true },
		{ 24, "nfs4", true, false, false },
		{ 25, "9p", true, true, false },
		{ 26, "gfs2", true, true, true },
		{ 27, "cifs", true, false, false },
		{ 29, "fuse.sshfs", true, true, false },
		{ 30, "fuse.glusterfs", true, true, true },
		{ 31, "nfs", true, true, true },
	};
	struct disk_store s;

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		assert_int_equal(disk_store_mount(mounts, want[i].id, &s), 0);
		assert_string_equal(s.type, want[i].type);
		assert_int_equal(s.shared, want[i].shared);
		assert_int_equal(s.locks, want[i].locks);
		assert_int_equal(s.locks_known, want[i].known);
	}
	assert_int_equal(disk_store_mount(mounts, 28, &s), -ENOENT);
	assert_int_equal(disk_store_mount(mounts, 99, &s), -ENOENT);
	assert_int_equal(disk_store_mount("", 21, &s), -ENOENT);
}

static void test_the_storage_of_this_directory_is_known(void **state)
{
	struct disk_store s;
	struct err e;
	int fd = open(disk, O_RDONLY);

	assert_int_equal(disk_store_of(fd, &s, &e), 0);
	assert_int_not_equal(*s.type, 0);
	close(fd);
}

/* --- formats --- */

static void test_formats_are_known_by_their_marks(void **state)
{
	static const struct {
		const char *name, *bytes;
		size_t len;
		off_t at;
	} want[] = {
		{ "qcow2", "QFI\xfb\0\0\0\3", 8, 0 },
		{ "qcow (version 1)", "QFI\xfb\0\0\0\1", 8, 0 },
		{ "QED", "QED\0", 4, 0 },
		{ "VMDK", "KDMV", 4, 0 },
		{ "VMDK (ESX)", "COWD", 4, 0 },
		{ "VMDK (its descriptor)", "# Disk DescriptorFile\n", 22, 0 },
		{ "VHD", "conectix", 8, 0 },
		{ "VHD", "conectix", 8, DISK_SIZE - 512 },
		{ "VHD", "conectix", 8, DISK_SIZE - 511 },
		{ "VHDX", "vhdxfile", 8, 0 },
		{ "VDI", "\x7f\x10\xda\xbe", 4, 0x40 },
		{ "gzip", "\x1f\x8b\x08", 3, 0 },
	};
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		int fd;

		assert_int_equal(setup(state), 0);
		fd = open(disk, O_RDONLY);
		assert_int_equal(disk_format_check(fd, disk, DISK_SIZE, &e), 0);
		put(want[i].bytes, want[i].len, want[i].at);
		assert_int_equal(disk_format_check(fd, disk, DISK_SIZE, &e), -EINVAL);
		assert_non_null(strstr(e.text, want[i].name));
		assert_non_null(strstr(e.text, "format: raw"));
		close(fd);
	}
}

static void test_small_and_odd_disks_are_looked_at_too(void **state)
{
	static const off_t sizes[] = { 512, 1024, 4096, 4608, 8191, 12800 };
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int fd;

		assert_int_equal(setup(state), 0);
		assert_int_equal(truncate(disk, sizes[i]), 0);
		fd = open(disk, O_RDONLY);
		assert_int_equal(disk_format_check(fd, disk, (uint64_t)sizes[i], &e), 0);
		put("conectix", 8, sizes[i] - 512);
		assert_int_equal(disk_format_check(fd, disk, (uint64_t)sizes[i], &e), -EINVAL);
		close(fd);
	}
}

/* --- the device --- */

static struct virtio_dev *device(struct bed *b, struct virtio_blk_conf c)
{
	struct virtio_dev *v;
	struct err e;

	c.path = disk;
	assert_int_equal(virtio_blk_create(&b->env, 0, &c, &v, &e), 0);
	return v;
}

static void test_a_foreign_format_is_refused_unless_it_is_called_raw(void **state)
{
	struct disk_holder me = holder("", 1);
	struct virtio_dev *v;
	struct bed b;
	struct err e = { 0 };

	put("QFI\xfb\0\0\0\3", 8, 0);
	assert_int_equal(bed_init(&b), 0);
	v = device(&b, (struct virtio_blk_conf){ 0 });
	assert_int_equal(virtio_blk_probe(v, true, &e), -EINVAL);
	assert_int_equal(virtio_blk_open(v, &me, &e), -EINVAL);
	assert_non_null(strstr(e.text, "looks like qcow2"));
	assert_non_null(strstr(e.text, "`format: qcow2`"));
	assert_int_equal(access(record, F_OK), -1);
	/* Of a size that no raw disk has, as images are: that is not what is wrong with it. */
	assert_int_equal(truncate(disk, DISK_SIZE - 100), 0);
	assert_int_equal(virtio_blk_probe(v, true, &e), -EINVAL);
	assert_non_null(strstr(e.text, "looks like qcow2"));
	assert_int_equal(truncate(disk, DISK_SIZE), 0);
	/* A domain that arrives ran on it: then its guest wrote that. */
	assert_int_equal(virtio_blk_probe(v, false, &e), 0);
	virtio_dev_destroy(v);
	bed_fini(&b);
	assert_int_equal(bed_init(&b), 0);
	v = device(&b, (struct virtio_blk_conf){ .format = FORMAT_RAW });
	assert_int_equal(virtio_blk_open(v, &me, &e), 0);
	virtio_dev_destroy(v);
	bed_fini(&b);
}

static void test_a_guests_own_writes_do_not_bar_it_from_its_disk(void **state)
{
	struct disk_holder me = holder("", 1);
	struct virtio_dev *v;
	struct bed b;
	struct err e = { 0 };

	assert_int_equal(bed_init(&b), 0);
	v = device(&b, (struct virtio_blk_conf){ 0 });
	assert_int_equal(virtio_blk_open(v, &me, &e), 0);
	put("QFI\xfb\0\0\0\3", 8, 0);
	virtio_blk_release(v);
	assert_int_equal(virtio_blk_open(v, &me, &e), 0);
	virtio_dev_destroy(v);
	bed_fini(&b);
}

static void test_an_odd_size_is_refused_by_name(void **state)
{
	struct disk_holder me = holder("", 1);
	struct virtio_dev *v;
	struct bed b;
	struct err e = { 0 };

	assert_int_equal(truncate(disk, DISK_SIZE + 100), 0);
	assert_int_equal(bed_init(&b), 0);
	v = device(&b, (struct virtio_blk_conf){ 0 });
	assert_int_equal(virtio_blk_open(v, &me, &e), -EINVAL);
	assert_non_null(strstr(e.text, "1048676 bytes, expected a multiple of its sector of 512"));
	virtio_dev_destroy(v);
	bed_fini(&b);
}

static void test_a_lost_write_is_told_once_to_the_machine_and_once_to_the_guest(void **state)
{
	struct disk_holder me = holder("", 1);
	struct virtio_dev *v;
	struct bed b;
	struct err e = { 0 };

	assert_int_equal(bed_init(&b), 0);
	v = device(&b, (struct virtio_blk_conf){ 0 });
	assert_int_equal(virtio_blk_open(v, &me, &e), 0);
	assert_int_equal(virtio_blk_flush(v, &e), 0);
	assert_int_equal(flushes, 1);
	flush_fails = 1;
	assert_int_equal(virtio_blk_flush(v, &e), -EIO);
	/* The kernel would say 0 now; what was lost is still lost. */
	assert_int_equal(virtio_blk_flush(v, &e), -EIO);
	virtio_blk_release(v);
	assert_int_equal(virtio_blk_open(v, &me, &e), 0);
	assert_int_equal(virtio_blk_flush(v, &e), -EIO);
	virtio_dev_destroy(v);
	bed_fini(&b);
}

static void test_a_device_that_ends_flushes_its_disk(void **state)
{
	struct disk_holder me = holder("", 1);
	struct virtio_dev *v;
	struct bed b;
	struct err e = { 0 };

	assert_int_equal(bed_init(&b), 0);
	v = device(&b, (struct virtio_blk_conf){ 0 });
	assert_int_equal(virtio_blk_open(v, &me, &e), 0);
	virtio_dev_destroy(v);
	assert_int_equal(flushes, 1);
	bed_fini(&b);
}

/* Opens the disk as @c says, with or without a lease; its flags, or a negative errno. */
static int flags_of(struct virtio_blk_conf c, bool leased, struct err *e)
{
	struct disk_holder me = holder("", 1);
	struct virtio_dev *v;
	struct bed b;
	int ret;

	assert_int_equal(bed_init(&b), 0);
	b.env.leased = leased;
	v = device(&b, c);
	ret = virtio_blk_open(v, &me, e);
	if (!ret)
		ret = fcntl(disk_lock_fd(virtio_blk_of(v)->lock), F_GETFL);
	virtio_dev_destroy(v);
	bed_fini(&b);
	return ret;
}

static void test_no_cache_lies_before_a_disk_that_hosts_share(void **state)
{
	static const struct virtio_blk_conf automatic, off = { .direct = DIRECT_OFF },
						       on = { .direct = DIRECT_ON }, reader = { .direct = DIRECT_OFF, .readonly = true };
	struct err e = { 0 };

	if (flags_of(on, false, &e) == -EOPNOTSUPP)
		skip(); /* no O_DIRECT here */
	assert_false(flags_of(automatic, true, &e) & O_DIRECT);
	assert_true(flags_of(on, false, &e) & O_DIRECT);
	assert_true(flags_of(off, true, &e) >= 0);
	shared = true;
	assert_true(flags_of(automatic, false, &e) & O_DIRECT);
	assert_true(flags_of(automatic, true, &e) & O_DIRECT);
	assert_false(flags_of(off, false, &e) & O_DIRECT);
	/* Under a lease the domain may be elsewhere before this host's cache has been written. */
	assert_int_equal(flags_of(off, true, &e), -EINVAL);
	assert_non_null(strstr(e.text, "direct: true"));
	assert_non_null(strstr(e.text, "nfs4"));
	assert_true(flags_of(reader, true, &e) >= 0);
}

static void test_an_event_after_the_release_is_nothing(void **state)
{
	struct disk_holder me = holder("", 1);
	struct virtio_dev *v;
	struct bed b;
	struct err e;

	assert_int_equal(bed_init(&b), 0);
	v = device(&b, (struct virtio_blk_conf){ 0 });
	assert_int_equal(virtio_blk_open(v, &me, &e), 0);
	virtio_blk_release(v);
	pthread_mutex_lock(&v->lock);
	virtio_blk_event(v, 0, 1);
	pthread_mutex_unlock(&v->lock);
	virtio_dev_destroy(v);
	bed_fini(&b);
}

static void test_a_mount_of_a_disk_is_found_by_its_number(void **state)
{
	static const char info[] =
		"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
		"22 21 0:21 / /proc rw - proc proc rw\n"
		"30 21 253:3 / /mnt/a\\040place\\134x rw,noatime - xfs /dev/mapper/vg-lv rw\n"
		"31 21 0:44 / /mnt/b rw - btrfs /dev/no-such-device rw\n"
		"line of nothing\n"
		"32 21 8:17 / /mnt/c rw master:1 propagate_from:2 - ext4 /dev/sdb1 rw";
	dev_t devs[] = { makedev(8, 16), makedev(253, 3) }, one = makedev(8, 17);
	char where[64];

	(void)state;
	assert_true(disk_mounted_at(info, devs, 2, where, sizeof(where)));
	assert_string_equal(where, "/mnt/a place\\x");
	assert_true(disk_mounted_at(info, &one, 1, where, sizeof(where)));
	assert_string_equal(where, "/mnt/c");
	assert_false(disk_mounted_at(info, devs, 1, where, sizeof(where)));
	assert_false(disk_mounted_at(info, devs, 0, where, sizeof(where)));
	assert_false(disk_mounted_at("", devs, 2, where, sizeof(where)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		cmocka_unit_test(test_a_mount_of_a_disk_is_found_by_its_number),
		T(test_prepare_writes_no_record_and_can_be_undone),
		T(test_a_record_that_cannot_be_written_is_found_before),
		T(test_undo_puts_the_record_back),
		T(test_rule_h_taking_back_under_a_higher_number_needs_an_untouched_record),
		T(test_the_path_may_change_but_not_the_disk),
		T(test_a_probe_locks_nothing_and_leaves_nothing),
		T(test_a_fifo_keeps_nobody),
		T(test_no_disk_is_open_nonblocking),
		T(test_no_number_makes_another_clusters_disk_ours),
		T(test_a_disk_that_no_cluster_counted_may_enter_one),
		T(test_what_a_mount_says_of_its_locks),
		T(test_the_storage_of_this_directory_is_known),
		T(test_formats_are_known_by_their_marks),
		T(test_small_and_odd_disks_are_looked_at_too),
		T(test_a_foreign_format_is_refused_unless_it_is_called_raw),
		T(test_a_guests_own_writes_do_not_bar_it_from_its_disk),
		T(test_an_odd_size_is_refused_by_name),
		T(test_a_lost_write_is_told_once_to_the_machine_and_once_to_the_guest),
		T(test_a_device_that_ends_flushes_its_disk),
		T(test_no_cache_lies_before_a_disk_that_hosts_share),
		T(test_an_event_after_the_release_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
