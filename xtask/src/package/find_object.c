/* Which object holds a program counter, and where its unwind table is.
 *
 * The unwinder of a C compiler that is made for glibc asks this of the C library (GCC 12 and
 * later); musl does not know the function, but can be asked what is loaded.
 *
 * That unwinder also takes for granted that threads are in the C library, and calls what it only
 * names weakly, which a static link leaves out unless somebody else needs it. */

#define _GNU_SOURCE
#include <link.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

/* glibc's struct dl_find_object, where it has no field for a data base. */
struct found {
	unsigned long long flags;
	void *start;
	void *end;
	void *link_map;
	void *unwind_table;
	unsigned long long reserved[7];
};

struct search {
	uintptr_t pc;
	struct found *found;
};

static int look_into(struct dl_phdr_info *info, size_t size, void *data)
{
	struct search *search = data;
	uintptr_t start = 0, end = 0, table = 0;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &info->dlpi_phdr[i];
		uintptr_t at = info->dlpi_addr + part->p_vaddr;

		if (part->p_type == PT_GNU_EH_FRAME)
			table = at;
		if (part->p_type == PT_LOAD && search->pc - at < part->p_memsz) {
			start = at;
			end = at + part->p_memsz;
		}
	}
	if (end == 0 || table == 0)
		return 0;
	*search->found = (struct found){
		.start = (void *)start,
		.end = (void *)end,
		.unwind_table = (void *)table,
	};
	return 1;
}

int _dl_find_object(void *pc, struct found *found)
{
	struct search search = { (uintptr_t)pc, found };

	return dl_iterate_phdr(look_into, &search) == 1 ? 0 : -1;
}

__attribute__((used)) static void *const of_threads[] = {
	(void *)pthread_once,
	(void *)pthread_key_create,
	(void *)pthread_getspecific,
	(void *)pthread_setspecific,
	(void *)pthread_mutex_lock,
	(void *)pthread_mutex_unlock,
};
