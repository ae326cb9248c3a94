/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * replay: the main() of a fuzzer in an ordinary build
 *
 * Runs LLVMFuzzerTestOneInput() on each file of tests/fuzz/corpus/NAME/, where this program is test_NAME; with
 * arguments, on the files they name. Each file is a seed or an input that crashed once, so that no fixed bug comes
 * back unseen. The program fails by crashing, as a fuzzer does; an empty corpus is a failure too.
 */
#include <dirent.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = NULL;
	size_t size = 0;
	size_t got;

	if (!file) {
		perror(path);
		return -1;
	}
	/* Grown a page at a time and cut to size, so that the sanitizer sees a read behind the input's end. */
	do {
		data = realloc(data, size + 4096);
		if (!data)
			abort();
		got = fread(data + size, 1, 4096, file);
		size += got;
	} while (got == 4096);
	fclose(file);
	if (size) {
		data = realloc(data, size);
		if (!data)
			abort();
	}
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 0;
}

static int replay_folder(const char *folder)
{
	struct dirent **entries;
	int found = 0;
	int n = scandir(folder, &entries, NULL, alphasort);

	if (n < 0) {
		perror(folder);
		return -1;
	}
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (entries[i]->d_name[0] != '.' && asprintf(&path, "%s/%s", folder, entries[i]->d_name) > 0) {
			printf("%s\n", entries[i]->d_name);
			fflush(stdout);
			if (replay(path) == 0)
				found++;
		}
		free(path);
		free(entries[i]);
	}
	free(entries);
	if (!found)
		fprintf(stderr, "%s: no input\n", folder);
	return found ? 0 : -1;
}

int main(int argc, char **argv)
{
	const char *name = strstr(argv[0], "test_");
	const char *root = getenv("VWIRE_SRC");
	char *folder;
	int failed;

	for (int i = 1; i < argc; i++) {
		if (replay(argv[i]) < 0)
			return 1;
	}
	if (argc > 1)
		return 0;
	for (const char *next = name; next; next = strstr(next + 1, "test_"))
		name = next;
	if (!name || !root) {
		fprintf(stderr, "replay: run by ./dev test, or with files as arguments\n");
		return 1;
	}
	if (asprintf(&folder, "%s/tests/fuzz/corpus/%s", root, name + strlen("test_")) < 0)
		return 1;
	failed = replay_folder(folder);
	free(folder);
	return failed < 0;
}
