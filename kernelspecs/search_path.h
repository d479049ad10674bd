/* Where kernelspecs are looked for: jupyter_core's jupyter_path("kernels") and jupyter_client's
 * addition of ~/.ipython (their source, jupyter_core/paths.py and jupyter_client/kernelspec.py). */
#pragma once

/* Absolute directories, first one wins; NULL-terminated, free with search_path_free. environment:
 * an envp. The Python prefix that jupyter_core asks its interpreter for is taken from VIRTUAL_ENV
 * or CONDA_PREFIX here. */
char **search_path_create(char *const *environment);
/* The same for directories that somebody named: made absolute, doubles and empty ones left out. */
char **search_path_copy(char *const *directories);
void search_path_free(char **path);
