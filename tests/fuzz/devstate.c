/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz the device state that a migration's peer sends (rule S): the first byte
 * chooses the entry, the rest is its payload.  What is accepted is then run.
 */
#include "virtio_bed.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bed *f = fuzz_bed();
	struct state_entry s[DEVICE_STATES_MAX * FUZZ_DEVICES + 1];
	struct reader r;
	size_t n = 0, i;
	struct err e;
	int ret;

	if (!size)
		return 0;
	for (i = 0; i < FUZZ_DEVICES; i++)
		n += virtio_dev_state(f->dev[i], s + n);
	s[n++] = display_state_entry(f->display);
	/* So that inputs with few fields mean something: the rest is as it stands. */
	for (i = 0; i < n; i++)
		fuzz_must(s[i].desc->pre_save(s[i].dev, &e), "save");
	assert(n);
	r = reader_make(data + 1, size - 1);
	ret = state_load_one(&s[data[0] % n], 1, &r, &e);
	fuzz_display_seen(f);
	for (i = 0; i < FUZZ_DEVICES; i++) {
		if (!ret) {
			fuzz_must(virtio_dev_start(f->dev[i], &e), "start");
			pthread_mutex_lock(&f->dev[i]->lock);
			if (virtio_dev_works(f->dev[i], 0))
				f->dev[i]->ops->kick(f->dev[i], 0);
			pthread_mutex_unlock(&f->dev[i]->lock);
			fuzz_must(virtio_dev_quiesce(f->dev[i], 5000, &e), "quiesce");
		}
		fuzz_device_reset(f, (unsigned int)i);
	}
	return 0;
}
