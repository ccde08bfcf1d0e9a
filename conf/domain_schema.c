/* SPDX-License-Identifier: Apache-2.0 */
/* domain_schema - which keys a domain file has, what shape they have, and the words among their values. */
#include "conf/domain_int.h"

#include "conf/check.h"

#define CMDLINE_MAX 2047 /* what an x86 kernel takes (boot protocol: cmdline_size) */
#define PATH_LEN_MAX CHECK_PATH_MAX
#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(key, flags, type, member, min, max) \
	CYAML_FIELD_STRING_PTR(key, CYAML_FLAG_POINTER | (flags), type, member, min, max)

static const cyaml_strval_t format_words[] = {
	{ "raw", FORMAT_RAW },
	{ "vhd", FORMAT_VHD },
	{ "qcow2", FORMAT_QCOW2 },
};

#define N_FORMATS (sizeof(format_words) / sizeof(format_words[0]))

static const cyaml_strval_t on_error_words[] = {
	{ "stop", ON_ERROR_STOP },
	{ "report", ON_ERROR_REPORT },
};

static const cyaml_schema_value_t path_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, PATH_LEN_MAX),
};

static const cyaml_schema_field_t disk_fields[] = {
	TEXT("path", 0, struct domain_raw_disk, path, 1, PATH_LEN_MAX),
	CYAML_FIELD_BOOL("readonly", OPTIONAL, struct domain_raw_disk, readonly),
	CYAML_FIELD_BOOL("direct", OPTIONAL, struct domain_raw_disk, direct),
	CYAML_FIELD_ENUM("format", OPTIONAL, struct domain_raw_disk, format, format_words,
			 N_FORMATS),
	CYAML_FIELD_SEQUENCE("parents", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw_disk, parents, &path_schema, 0,
			     DOMAIN_PARENTS_MAX),
	CYAML_FIELD_ENUM("on_error", OPTIONAL, struct domain_raw_disk, on_error, on_error_words,
			 sizeof(on_error_words) / sizeof(on_error_words[0])),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t disk_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct domain_raw_disk, disk_fields),
};

static const cyaml_strval_t filter_words[] = {
	{ "mac", FILTER_MAC },
	{ "addresses", FILTER_ADDRESSES },
};

#define N_FILTERS (sizeof(filter_words) / sizeof(filter_words[0]))

static const cyaml_schema_value_t address_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 64),
};

static const cyaml_schema_value_t vlan_schema = {
	CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint32_t),
};

static const cyaml_schema_field_t nic_fields[] = {
	TEXT("mac", OPTIONAL, struct domain_raw_nic, mac, 1, 64),
	TEXT("bridge", OPTIONAL, struct domain_raw_nic, bridge, 1, 64),
	TEXT("tap", OPTIONAL, struct domain_raw_nic, tap, 1, 64),
	CYAML_FIELD_UINT("mtu", OPTIONAL, struct domain_raw_nic, mtu),
	CYAML_FIELD_UINT("queues", OPTIONAL, struct domain_raw_nic, queues),
	CYAML_FIELD_UINT("vlan", OPTIONAL, struct domain_raw_nic, vlan),
	CYAML_FIELD_SEQUENCE("vlans", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw_nic, vlans, &vlan_schema, 0,
			     DOMAIN_VLANS_MAX),
	CYAML_FIELD_ENUM("filter", OPTIONAL, struct domain_raw_nic, filter, filter_words, N_FILTERS),
	CYAML_FIELD_SEQUENCE("addresses", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw_nic, addresses,
			     &address_schema, 0, DOMAIN_ADDRESSES_MAX),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t nic_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct domain_raw_nic, nic_fields),
};

static const cyaml_schema_field_t display_fields[] = {
	TEXT("memory", OPTIONAL, struct domain_raw_display, memory, 1, 64),
	CYAML_FIELD_END
};

static const cyaml_schema_value_t word_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 64),
};

static const cyaml_schema_field_t topology_fields[] = {
	CYAML_FIELD_UINT("sockets", OPTIONAL, struct domain_raw_topology, sockets),
	CYAML_FIELD_UINT("cores", OPTIONAL, struct domain_raw_topology, cores),
	CYAML_FIELD_UINT("threads", OPTIONAL, struct domain_raw_topology, threads),
	CYAML_FIELD_END
};

static const cyaml_schema_field_t cpu_fields[] = {
	CYAML_FIELD_MAPPING_PTR("topology", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw_cpu, topology, topology_fields),
	TEXT("model", OPTIONAL, struct domain_raw_cpu, model, 1, 64),
	CYAML_FIELD_IGNORE("pin", OPTIONAL), /* a list, or a mapping of lists: domain_pin.c */
	CYAML_FIELD_SEQUENCE("features", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw_cpu, features, &word_schema, 0,
			     CPU_FEATURES_MAX),
	CYAML_FIELD_END
};

static const cyaml_schema_field_t ha_fields[] = {
	TEXT("group", OPTIONAL, struct domain_raw_ha, group, 1, 255),
	CYAML_FIELD_UINT("max_restart", OPTIONAL, struct domain_raw_ha, max_restart),
	CYAML_FIELD_END
};

static const cyaml_schema_field_t migration_fields[] = {
	TEXT("downtime", OPTIONAL, struct domain_raw_migration, downtime, 1, 64),
	TEXT("timeout", OPTIONAL, struct domain_raw_migration, timeout, 1, 64),
	TEXT("bandwidth", OPTIONAL, struct domain_raw_migration, bandwidth, 1, 64),
	CYAML_FIELD_UINT("throttle", OPTIONAL, struct domain_raw_migration, throttle),
	CYAML_FIELD_END
};

static const cyaml_strval_t backing_words[] = {
	{ "auto", BACKING_AUTO },
	{ "memfd", BACKING_MEMFD },
	{ "hugetlb", BACKING_HUGETLB },
	{ "anon", BACKING_ANON },
};

static const cyaml_strval_t firmware_words[] = {
	{ "none", FIRMWARE_NONE },
	{ "bios", FIRMWARE_BIOS },
	{ "uefi", FIRMWARE_UEFI },
};

#define N_FIRMWARES (sizeof(firmware_words) / sizeof(firmware_words[0]))
#define N_BACKINGS (sizeof(backing_words) / sizeof(backing_words[0]))

static const cyaml_schema_field_t domain_fields[] = {
	TEXT("name", 0, struct domain_raw, name, 1, 255),
	TEXT("uuid", OPTIONAL, struct domain_raw, uuid, 1, 64),
	TEXT("memory", 0, struct domain_raw, memory, 1, 64),
	CYAML_FIELD_ENUM("backing", OPTIONAL, struct domain_raw, backing, backing_words, N_BACKINGS),
	CYAML_FIELD_UINT("vcpus", OPTIONAL, struct domain_raw, vcpus),
	CYAML_FIELD_MAPPING_PTR("cpu", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw, cpu, cpu_fields),
	CYAML_FIELD_ENUM("firmware", OPTIONAL, struct domain_raw, firmware, firmware_words, N_FIRMWARES),
	TEXT("firmware_image", OPTIONAL, struct domain_raw, firmware_image, 1, PATH_LEN_MAX),
	TEXT("kernel", OPTIONAL, struct domain_raw, kernel, 1, PATH_LEN_MAX),
	TEXT("initrd", OPTIONAL, struct domain_raw, initrd, 1, PATH_LEN_MAX),
	TEXT("cmdline", OPTIONAL, struct domain_raw, cmdline, 0, CMDLINE_MAX),
	CYAML_FIELD_SEQUENCE("disks", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw, disks,
			     &disk_schema, 0, DOMAIN_DISKS_MAX),
	CYAML_FIELD_SEQUENCE("nics", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw, nics,
			     &nic_schema, 0, DOMAIN_NICS_MAX),
	CYAML_FIELD_BOOL("rng", OPTIONAL, struct domain_raw, rng),
	CYAML_FIELD_BOOL("guest_agent", OPTIONAL, struct domain_raw, guest_agent),
	CYAML_FIELD_MAPPING_PTR("display", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw, display, display_fields),
	CYAML_FIELD_MAPPING_PTR("ha", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw, ha, ha_fields),
	CYAML_FIELD_MAPPING_PTR("migration", CYAML_FLAG_POINTER | OPTIONAL, struct domain_raw, migration,
				migration_fields),
	CYAML_FIELD_END
};

const cyaml_schema_value_t domain_schema = {
	CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct domain_raw, domain_fields),
};

static const char *word(const cyaml_strval_t *words, size_t n, int64_t val)
{
	for (size_t i = 0; i < n; i++)
		if (words[i].val == val)
			return words[i].str;
	return "?";
}

const char *domain_backing_name(enum domain_backing b)
{
	return word(backing_words, N_BACKINGS, b);
}

const char *domain_filter_name(enum domain_filter f)
{
	return f == FILTER_NONE ? NULL : word(filter_words, N_FILTERS, f);
}

const char *domain_firmware_name(enum domain_firmware f)
{
	return word(firmware_words, N_FIRMWARES, f);
}

const char *domain_format_word(enum domain_format f)
{
	return word(format_words, N_FORMATS, f == FORMAT_UNSAID ? FORMAT_RAW : f);
}
