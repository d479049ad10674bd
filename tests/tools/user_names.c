/* user_names SCHEME: the names on standard input, each ended by a NUL byte, as directories' names,
 * one a line; "-" for a name that is refused. */
#include "base/memory.h"
#include "nfs/user_name.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    enum user_name_scheme scheme;
    char *name = NULL;
    size_t size = 0;
    if (argc != 2 || user_name_scheme_parse(argv[1], &scheme, NULL) < 0)
        return 2;
    while (getdelim(&name, &size, '\0', stdin) > 0) {
        char *text = NULL;
        user_name_escape(scheme, name, &text, NULL);
        puts(text != NULL ? text : "-");
        free(text);
    }
    free(name);
    return 0;
}
