/* Variables of Jupyter Enterprise Gateway that this gateway knows and does not act on. */
#pragma once

/* Why `name` (up to a '=') does nothing here, for "NAME is set, but ..."; NULL when nobody knows
 * the name. */
const char *settings_legacy_note(const char *name);
