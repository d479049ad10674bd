/* The one stylesheet of our pages. Both colour schemes have at least 4.5:1 for text and 3:1 for the
 * edges of controls. Below 60em a table's rows are cards, each cell with its heading (data-label)
 * before it; html that puts a table there gives its elements their ARIA roles, since browsers take
 * a table without display: table for none. */
#pragma once

extern const char html_style[];
