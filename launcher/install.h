/* Copies the launcher that runs in any image - its program, its libraries and their loader - to
 * where its pod's other containers find it: what an init container does. */
#pragma once

#include "base/error.h"

/* from: a directory with bin/ and lib/; NULL: where this program's installation has it. to: gets
 * the same two, for everybody to read. Each file is replaced at once and the program comes last, so
 * that it may be done again at any time, also after it was broken off. */
int install_launcher(const char *from, const char *to, struct error *err);
