#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/utf8.h"
#include "gateway/html.h"
#include "gateway/page.h"

#include <inttypes.h>
#include <string.h>

/* Values. */

static const char *text_of(const json_t *kernel, const char *field) {
    const char *text = json_string_value(json_object_get(kernel, field));
    return text != NULL ? text : "";
}

/* -1: not known. */
static int64_t number_of(const json_t *kernel, const char *field) {
    const json_t *value = json_object_get(kernel, field);
    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value)
                                                                    : -1;
}

/* A name as data: cut, and in a direction of its own so that it cannot turn its neighbours. */
static void add_name(struct buffer *out, const char *name) {
    size_t length = strlen(name), cut = utf8_floor(name, length, PAGE_NAME_MAX);
    cleanup_buffer struct buffer part = {0};
    buffer_append(&part, name, cut);
    html_add(out, "<bdi>{}</bdi>", buffer_text(&part));
    if (cut < length)
        html_add(out, "…");
}

/* "1 h 5 min". Nobody reads seconds of a page that does not move. */
static void add_duration(struct buffer *out, int64_t ms) {
    cleanup_buffer struct buffer text = {0};
    text_append_duration(&text, ms < 60000 ? ms : ms / 60000 * 60000);
    html_add(out, "<span class=\"number\">{}</span>", ms < 1000 ? "< 1 s" : buffer_text(&text));
}

static void add_bytes(struct buffer *out, int64_t bytes) {
    char text[32];
    double mebibytes = (double)bytes / (1 << 20);
    snprintf(text, sizeof text, mebibytes < 1024 ? "%.0f MiB" : "%.1f GiB",
             mebibytes < 1024 ? mebibytes : mebibytes / 1024);
    html_add(out, "<span class=\"number\">{}</span>", text);
}

static void add_time(struct buffer *out, int64_t wall_us) {
    char text[CLOCK_TEXT_SIZE], day[11], hour[9];
    clock_format(wall_us, text);
    snprintf(day, sizeof day, "%.10s", text);
    snprintf(hour, sizeof hour, "%.8s", text + 11);
    html_add(out, "<time datetime=\"{}\">{} {} UTC</time>", text, day, hour);
}

static void add_count(struct buffer *out, size_t count) {
    char text[24];
    snprintf(text, sizeof text, "%zu", count);
    html_add(out, "{}", text);
}

/* A row of the table. */

enum column {
    COLUMN_KERNEL,
    COLUMN_OWNER,
    COLUMN_STATE,
    COLUMN_AGE,
    COLUMN_IDLE,
    COLUMN_CULL,
    COLUMN_MEMORY,
    COLUMN_CPU,
    COLUMN_ACTIONS,
    COLUMNS,
};

static const char *const headings[COLUMNS] = {
    "Kernel", "Owner", "State", "Age", "Idle", "Next cull", "Memory", "CPU time", "Actions",
};

static void begin_cell(struct buffer *out, enum column column) {
    html_add(out, "<td role=\"cell\" data-label=\"{}\">", headings[column]);
}

static void end_cell(struct buffer *out) {
    html_add(out, "</td>\n");
}

static const char *name_of(const json_t *kernel) {
    const char *display_name = text_of(kernel, "display_name");
    return *display_name != '\0' ? display_name : text_of(kernel, "name");
}

static void add_kernel(struct buffer *out, const json_t *kernel) {
    html_add(out, "<th role=\"rowheader\" scope=\"row\"><b>");
    add_name(out, name_of(kernel));
    html_add(out, "</b>");
    if (strcmp(name_of(kernel), text_of(kernel, "name")) != 0) {
        html_add(out, "<span class=\"faint\">");
        add_name(out, text_of(kernel, "name"));
        html_add(out, "</span> ");
    }
    html_add(out, "<code>{}</code></th>\n", text_of(kernel, "id"));
}

/* The first line says why; what follows is the kernel's last output. */
static void add_reason(struct buffer *out, const char *reason) {
    size_t length = strcspn(reason, "\n");
    cleanup_buffer struct buffer first = {0};
    buffer_append(&first, reason, length);
    html_add(out, ": <bdi>{}</bdi>", buffer_text(&first));
    if (reason[length] != '\0')
        html_add(out, "<details><summary>What it said last</summary><pre>{}</pre></details>",
                 reason + length + 1);
}

static void add_state(struct buffer *out, const json_t *kernel) {
    const char *state = text_of(kernel, "execution_state");
    begin_cell(out, COLUMN_STATE);
    html_add(out, "<span class=\"{}\">{}</span>", state, state);
    if (*text_of(kernel, "message") != '\0')
        add_reason(out, text_of(kernel, "message"));
    end_cell(out);
}

static void add_duration_cell(struct buffer *out, enum column column, int64_t ms) {
    begin_cell(out, column);
    if (ms >= 0)
        add_duration(out, ms);
    else
        html_add(out, "–");
    end_cell(out);
}

/* The whole sentence is what `elara why` says. */
static const char *words_for(const char *rule) {
    static const struct {
        const char *rule, *words;
    } table[] = {{"idle", "idle, nobody connected"},
                 {"idle-connected", "idle, though somebody is connected"},
                 {"stalled", "its cell gives no output and uses no CPU"},
                 {"detached", "nobody connected, nothing runs"},
                 {"unattached", "nobody ever connected"},
                 {"age", "its age"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i].rule, rule) == 0)
            return table[i].words;
    return rule;
}

static void add_cull(struct buffer *out, const json_t *kernel, bool is_dead) {
    int64_t in_ms = number_of(kernel, "cull_in_ms"), keep_ms = number_of(kernel, "keep_ms");
    begin_cell(out, COLUMN_CULL);
    if (in_ms >= 0) {
        html_add(out, "in ");
        add_duration(out, in_ms);
        html_add(out, "<br><span class=\"faint\">{}</span>", words_for(text_of(kernel, "rule")));
    } else if (is_dead || *text_of(kernel, "text") == '\0') {
        html_add(out, "–");
    } else {
        html_add(out, "<span class=\"faint\">{}</span>", text_of(kernel, "text"));
    }
    if (keep_ms > 0) {
        html_add(out, "<br><span class=\"faint\">kept for ");
        add_duration(out, keep_ms);
        html_add(out, "</span>");
    }
    end_cell(out);
}

static void add_memory(struct buffer *out, const json_t *kernel, bool is_dead) {
    int64_t bytes = number_of(kernel, "rss_bytes");
    begin_cell(out, COLUMN_MEMORY);
    if (bytes >= 0 && !is_dead)
        add_bytes(out, bytes);
    else
        html_add(out, "–");
    end_cell(out);
}

/* The id says to those who hear the buttons one by one which kernel each is for. */
static void add_button(struct buffer *out, const json_t *kernel, const char *action,
                       const char *label, const char *kind) {
    const char *id = text_of(kernel, "id");
    html_add(out,
             "<button class=\"{}\" formaction=\"?do={}&amp;kernel={}\">{}"
             "<span class=\"heard\"> kernel {}</span></button>\n",
             kind, action, id, label, id);
}

/* Somebody else's: who shares it, and the one thing that may be done about it. */
static void add_shared_actions(struct buffer *out, const json_t *kernel, bool may_use) {
    begin_cell(out, COLUMN_ACTIONS);
    html_add(out, "<p class=\"faint\">Shared by ");
    add_name(out, text_of(kernel, "owner"));
    html_add(out, "</p>\n");
    if (may_use) {
        html_add(out, "<form method=\"post\">\n");
        add_button(out, kernel, "interrupt", "Interrupt", "");
        html_add(out, "</form>");
    }
    end_cell(out);
}

/* What takes the kernel's variables away is one step further than the rest. */
static void add_actions(struct buffer *out, const json_t *kernel, bool is_dead) {
    cleanup_buffer struct buffer keep = {0};
    buffer_append_text(&keep, "Keep for ");
    text_append_duration(&keep, page_keep_ms(number_of(kernel, "keep_max_ms")));
    begin_cell(out, COLUMN_ACTIONS);
    html_add(out, "<form method=\"post\">\n");
    if (!is_dead) {
        add_button(out, kernel, "interrupt", "Interrupt", "");
        add_button(out, kernel, "keep", buffer_text(&keep), "");
    }
    html_add(out,
             "<details><summary>{}<span class=\"heard\"> kernel {}</span></summary>\n"
             "<p class=\"faint\">{}</p>\n",
             "End …", text_of(kernel, "id"),
             is_dead ? "Its output is forgotten with it." : "Its variables are lost.");
    add_button(out, kernel, "restart", "Restart", "ends");
    add_button(out, kernel, "delete", "Delete", "ends");
    html_add(out, "</details>\n</form>");
    end_cell(out);
}

static bool shows_column(const struct page_view *view, int column) {
    return (column != COLUMN_OWNER || view->role != AUTH_USER) &&
           (column != COLUMN_ACTIONS || view->role != AUTH_VIEWER);
}

static void add_row(struct buffer *out, const struct page_view *view, const json_t *kernel) {
    const char *state = text_of(kernel, "execution_state");
    bool is_dead = strcmp(state, "dead") == 0, is_idle = strcmp(state, "idle") == 0;
    html_add(out, "<tr role=\"row\">\n");
    add_kernel(out, kernel);
    if (shows_column(view, COLUMN_OWNER)) {
        begin_cell(out, COLUMN_OWNER);
        add_name(out, text_of(kernel, "owner"));
        end_cell(out);
    }
    add_state(out, kernel);
    add_duration_cell(out, COLUMN_AGE, number_of(kernel, "age_ms"));
    add_duration_cell(out, COLUMN_IDLE, is_idle ? number_of(kernel, "idle_ms") : -1);
    add_cull(out, kernel, is_dead);
    add_memory(out, kernel, is_dead);
    add_duration_cell(out, COLUMN_CPU, number_of(kernel, "cpu_ms"));
    bool may_use = strcmp(text_of(kernel, "right"), "use") == 0;
    if (may_use || strcmp(text_of(kernel, "right"), "view") == 0)
        add_shared_actions(out, kernel, may_use && !is_dead);
    else if (shows_column(view, COLUMN_ACTIONS))
        add_actions(out, kernel, is_dead);
    html_add(out, "</tr>\n");
}

static void add_table(struct buffer *out, const struct page_view *view) {
    html_add(out,
             "<table role=\"table\">\n<caption>{}</caption>\n<thead role=\"rowgroup\">\n"
             "<tr role=\"row\">",
             view->role != AUTH_USER ? "All kernels, oldest first" : "Your kernels, oldest first");
    for (int column = 0; column < COLUMNS; column++)
        if (shows_column(view, column))
            html_add(out, "<th role=\"columnheader\" scope=\"col\">{}</th>", headings[column]);
    html_add(out, "</tr>\n</thead>\n<tbody role=\"rowgroup\">\n");
    size_t index;
    const json_t *kernel;
    json_array_foreach(view->kernels, index, kernel) {
        add_row(out, view, kernel);
    }
    html_add(out, "</tbody>\n</table>\n");
}

/* Around it. */

static void add_notices(struct buffer *out, const struct page_view *view) {
    const char *text = view->done != NULL ? page_done_text(view->done) : NULL;
    if (text != NULL && view->done_to != NULL && text_is_kernel_id(view->done_to))
        html_add(out,
                 "<p id=\"done\" class=\"notice\" role=\"status\">Kernel <code>{}</code> {}.</p>\n",
                 view->done_to, text);
    if (view->problem != NULL)
        html_add(out,
                 "<p class=\"notice problem\"><b>What was changed is not in effect:</b> {}</p>\n",
                 view->problem);
    if (view->pending != NULL)
        html_add(out, "<p class=\"notice\">Changed settings that wait for a restart: {}</p>\n",
                 view->pending);
    if (view->is_adopting)
        html_add(out, "<p class=\"notice\">The gateway has just started and is taking over the "
                      "running kernels: some may still be missing here.</p>\n");
}

static void add_limit(struct buffer *out, int64_t limit, const char *of_what) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, limit);
    if (limit >= 0)
        html_add(out, "<div><dt>{}</dt><dd>{}</dd></div>\n", of_what, text);
}

static void add_facts(struct buffer *out, const struct page_view *view) {
    html_add(out,
             "<dl class=\"facts\">\n<div><dt>Gateway</dt><dd>Elara {}</dd></div>\n"
             "<div><dt>Up for</dt><dd>",
             ELARA_VERSION);
    add_duration(out,
                 view->now_us > view->started_us ? (view->now_us - view->started_us) / 1000 : 0);
    html_add(out, "</dd></div>\n<div><dt>{}</dt><dd>",
             view->role != AUTH_USER ? "Kernels" : "Kernels of yours");
    add_count(out, view->total);
    html_add(out, "</dd></div>\n");
    add_limit(out, view->max_kernels, "Limit of kernels");
    add_limit(out, view->max_kernels_per_user, "Limit for each user");
    add_limit(out, view->max_kernels_per_spec, "Limit for each kernelspec");
    html_add(out, "<div><dt>Signed in as</dt><dd>");
    if (view->user != NULL) {
        add_name(out, view->user);
        html_add(out, "{}",
                 view->role == AUTH_ADMIN    ? " (admin)"
                 : view->role == AUTH_VIEWER ? " (viewer)"
                                             : "");
    } else {
        html_add(out, "nobody: no token is asked for");
    }
    html_add(out, "</dd></div>\n<div><dt>As of</dt><dd>");
    add_time(out, view->now_us);
    html_add(out, "</dd></div>\n</dl>\n");
}

static void add_page_link(struct buffer *out, size_t from, const char *label) {
    char number[24];
    snprintf(number, sizeof number, "%zu", from);
    html_add(out, "<a href=\"?from={}\">{}</a>\n", number, label);
}

static void add_links(struct buffer *out, const struct page_view *view) {
    size_t rows = json_array_size(view->kernels);
    html_add(out, "<nav aria-label=\"Pages\">\n");
    add_page_link(out, view->first, "Refresh");
    if (view->first > 0)
        add_page_link(out, view->first > PAGE_ROWS ? view->first - PAGE_ROWS : 0, "Earlier ones");
    if (view->first + rows < view->total) {
        add_page_link(out, view->first + rows, "Later ones");
        html_add(out, "<span>");
        add_count(out, view->first + rows);
        html_add(out, " of ");
        add_count(out, view->total);
        html_add(out, " shown</span>\n");
    }
    html_add(out, "</nav>\n");
}

void page_render(const struct page_view *view, struct buffer *out) {
    html_begin(out, "Elara: kernels");
    html_add(out, "<h1>Kernels</h1>\n");
    add_notices(out, view);
    add_facts(out, view);
    if (view->kernels == NULL)
        html_add(out, "<p class=\"notice\">Listing kernels is switched off (list-kernels).</p>\n");
    else if (json_array_size(view->kernels) == 0)
        html_add(out, "<p>There are no kernels{}.</p>\n", view->first > 0 ? " beyond here" : "");
    else
        add_table(out, view);
    add_links(out, view);
    html_end(out);
}
