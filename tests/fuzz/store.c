/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: the record file as droverd reads it at start. */
#include "ha/store.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_image image;
	size_t good = 0;

	if (store_parse(data, size, &image, &good, NULL) < 0)
		return 0;
	if (good > size || image.cut > size - good || (image.lost && image.n_entries))
		abort();
	store_image_free(&image);
	return 0;
}
