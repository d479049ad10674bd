/* One pass over the search path: what kernelspecs there are. */
#pragma once

#include "kernelspecs/kernelspecs.h"
#include "kernelspecs/spec_watch.h"

enum { SPECS_MAX = 4096 };

struct spec_list {
    struct kernelspec *specs; /* sorted by name; name and directory are ours to free */
    size_t count;
    json_t *problems; /* as kernelspecs_problems has it */
    json_t *report;   /* as kernelspecs_report has it */
};

struct spec_filter {
    char *const *allowed; /* lower-case globs; empty: all */
    char *const *denied;  /* win over allowed */
};

void spec_list_load(struct spec_list *list, char *const *directories,
                    const struct spec_filter *filter, struct spec_watch *watch);
const struct kernelspec *spec_list_find(const struct spec_list *list, const char *lower_name);
void spec_list_free(struct spec_list *list);
