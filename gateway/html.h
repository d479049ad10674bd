/* HTML for people's browsers. What comes from kernels, kernelspecs, owners and requests is data: it
 * enters a document only as a value of html_add, which escapes it. */
#pragma once

#include "base/buffer.h"

/* Appends `form`, a literal of ours, with each {} replaced by the next value, escaped for text and
 * for quoted attributes alike: html_add(out, "<a href=\"{}\">{}</a>", address, name). What is no
 * UTF-8 and control characters come out as U+FFFD. As many values as {}, none of them NULL;
 * anything else ends the process. What passes out's limit is left out. */
#define html_add(out, form, ...)                                                                   \
    html_add_values(out, "" form, (const char *const[]){"", ##__VA_ARGS__, NULL})
void html_add_values(struct buffer *out, const char *form, const char *const *values);

/* The document around what is added between the two: title, stylesheet, <main>. */
void html_begin(struct buffer *out, const char *title);
void html_end(struct buffer *out);

/* For Content-Security-Policy: 'sha256-...' of the stylesheet, with its quotes. */
enum { HTML_STYLE_HASH_SIZE = 64 };
void html_style_hash(char hash[HTML_STYLE_HASH_SIZE]);
