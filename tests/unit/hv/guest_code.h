/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guest_code - tiny guests for tests: a few bytes of 32-bit code in a PVH ELF file.
 *
 * make_domain() writes such a file and returns a domain that boots it.  Code is
 * loaded and entered at GUEST_CODE, in protected mode without paging.
 */
#ifndef DROVER_TESTS_GUEST_CODE_H
#define DROVER_TESTS_GUEST_CODE_H

#include "conf/domain.h"

#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GUEST_CODE 0x100000u
#define GUEST_COUNTER 0x200000u

struct pvh_note {
	Elf64_Nhdr head;
	char name[4];
	uint32_t entry;
};

struct pvh_file {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr[2];
	struct pvh_note note;
	uint8_t code[256];
};

static inline void pvh_build(struct pvh_file *f, const void *code, size_t len)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->ehdr.e_ident, ELFMAG, SELFMAG);
	f->ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	f->ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	f->ehdr.e_machine = EM_X86_64;
	f->ehdr.e_phoff = offsetof(struct pvh_file, phdr);
	f->ehdr.e_phentsize = sizeof(Elf64_Phdr);
	f->ehdr.e_phnum = 2;
	f->phdr[0] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = offsetof(struct pvh_file, note), .p_filesz = sizeof(f->note) };
	f->phdr[1] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = offsetof(struct pvh_file, code),
		.p_filesz = sizeof(f->code),
		.p_memsz = 4096,
		.p_paddr = GUEST_CODE,
	};
	f->note.head = (Elf64_Nhdr){ .n_namesz = 4, .n_descsz = 4, .n_type = 18 };
	memcpy(f->note.name, "Xen", 4);
	f->note.entry = GUEST_CODE;
	memcpy(f->code, code, len);
}

static inline struct domain_conf *make_domain(const void *code, size_t len, unsigned int vcpus)
{
	char path[] = "/tmp/drover-test-guest-XXXXXX";
	struct domain_conf *c;
	struct pvh_file f;
	char yaml[512];
	int fd = mkstemp(path);

	pvh_build(&f, code, len);
	if (fd < 0 || write(fd, &f, sizeof(f)) != sizeof(f))
		abort();
	close(fd);
	snprintf(yaml, sizeof(yaml), "name: test\nmemory: 8M\nvcpus: %u\nkernel: %s\nrng: false\n", vcpus,
		 path);
	if (domain_conf_parse("test", yaml, strlen(yaml), &c, NULL))
		abort();
	return c;
}

static inline void free_domain(struct domain_conf *c)
{
	if (c->kernel)
		unlink(c->kernel);
	domain_conf_free(c);
}

#endif
