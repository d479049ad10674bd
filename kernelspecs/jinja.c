/* The template is evaluated while it is read: a branch that is not taken is read with live off, so
 * that its mistakes are found too, and the body of a loop is read once for each value. */
#include "kernelspecs/jinja.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/utf8.h"
#include "kernelspecs/jinja_lex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32, STEPS_MAX = 100000, TEXT_MAX = 1 << 20 };

/* Private-use characters (U+E000, U+E001) around the mark's number. */
#define OPEN  "\xee\x80\x80"
#define CLOSE "\xee\x80\x81"

struct render {
    struct jinja_lexer lexer;
    const json_t *values;
    json_t *loops; /* the loops' own names, which hide the values' */
    json_t *marked;
    struct buffer *out;
    bool live;
    int depth, steps;
};

enum tag_end { END_OF_TEXT, TAG_ELIF, TAG_ELSE, TAG_ENDIF, TAG_ENDFOR, TAG_BAD };

static int parse_or(struct render *r, json_t **ret);

static bool is_true(const json_t *value) {
    if (json_is_string(value))
        return json_string_length(value) > 0;
    if (json_is_array(value))
        return json_array_size(value) > 0;
    if (json_is_object(value))
        return json_object_size(value) > 0;
    if (json_is_number(value))
        return json_number_value(value) != 0;
    return json_is_true(value);
}

static json_t *look_up(const struct render *r, const char *name) {
    json_t *value = json_object_get(r->loops, name);
    return value != NULL ? value : json_object_get(r->values, name);
}

/* *ret NULL: a name without a value. */
static int parse_primary(struct render *r, json_t **ret) {
    struct jinja_token *token = &r->lexer.token;
    cleanup_json json_t *value = NULL;
    switch (token->kind) {
    case JINJA_NAME:
        value = json_incref(look_up(r, token->text));
        break;
    case JINJA_STRING:
        value = json_string(token->text);
        break;
    case JINJA_NUMBER:
        value = json_integer(token->number);
        break;
    case JINJA_OPEN:
        if (++r->depth > DEPTH_MAX)
            return jinja_lexer_fail(&r->lexer, "nested too deeply");
        if (jinja_lexer_next(&r->lexer) < 0 || parse_or(r, &value) < 0)
            return -1;
        r->depth--;
        if (token->kind != JINJA_CLOSE)
            return jinja_lexer_fail(&r->lexer, "a ) is missing before \"%s\"", token->text);
        break;
    default:
        return jinja_lexer_fail(&r->lexer, "\"%s\" where a name or a text has to stand",
                                token->text);
    }
    *ret = steal(&value);
    return jinja_lexer_next(&r->lexer);
}

static int make_integer(struct render *r, json_t **value) {
    int64_t number = json_integer_value(*value);
    if (!r->live || json_is_integer(*value))
        return 0;
    if (!json_is_string(*value) || text_parse_int(json_string_value(*value), INT64_MIN, INT64_MAX,
                                                  "the value", &number, NULL) < 0)
        return jinja_lexer_fail(&r->lexer, "| int: the value is no whole number");
    json_decref(*value);
    *value = json_integer(number);
    return 0;
}

/* name | int | yaml_safe. The latter quotes a value for YAML, which a mark does not need. */
static int parse_filtered(struct render *r, json_t **ret) {
    struct jinja_token *token = &r->lexer.token;
    cleanup_json json_t *value = NULL;
    if (parse_primary(r, &value) < 0)
        return -1;
    while (token->kind == JINJA_PIPE) {
        if (jinja_lexer_next(&r->lexer) < 0)
            return -1;
        if (jinja_lexer_is(&r->lexer, "int") ? make_integer(r, &value) < 0
                                             : !jinja_lexer_is(&r->lexer, "yaml_safe"))
            return jinja_lexer_fail(
                &r->lexer, "the filter \"%s\" is not known; int and yaml_safe are", token->text);
        if (jinja_lexer_next(&r->lexer) < 0)
            return -1;
    }
    *ret = steal(&value);
    return 0;
}

/* Behind "is". */
static int parse_test(struct render *r, json_t **value) {
    bool negate = jinja_lexer_is(&r->lexer, "not");
    if (negate && jinja_lexer_next(&r->lexer) < 0)
        return -1;
    if (!jinja_lexer_is(&r->lexer, "defined"))
        return jinja_lexer_fail(&r->lexer, "the test \"is %s\" is not known; \"is defined\" is",
                                r->lexer.token.text);
    json_t *answer = json_boolean((*value != NULL) != negate);
    json_decref(*value);
    *value = answer;
    return jinja_lexer_next(&r->lexer);
}

static int parse_comparison(struct render *r, json_t **ret) {
    cleanup_json json_t *left = NULL, *right = NULL;
    if (parse_filtered(r, &left) < 0)
        return -1;
    enum jinja_kind kind = r->lexer.token.kind;
    if (jinja_lexer_is(&r->lexer, "is")) {
        if (jinja_lexer_next(&r->lexer) < 0 || parse_test(r, &left) < 0)
            return -1;
    } else if (kind == JINJA_EQUAL || kind == JINJA_UNEQUAL) {
        if (jinja_lexer_next(&r->lexer) < 0 || parse_filtered(r, &right) < 0)
            return -1;
        bool same = left == right || (left != NULL && right != NULL && json_equal(left, right));
        json_decref(left);
        left = json_boolean(same == (kind == JINJA_EQUAL));
    }
    *ret = steal(&left);
    return 0;
}

static int parse_not(struct render *r, json_t **ret) {
    bool negate = false, is_negated = false;
    for (; jinja_lexer_is(&r->lexer, "not"); negate = !negate, is_negated = true)
        if (jinja_lexer_next(&r->lexer) < 0)
            return -1;
    cleanup_json json_t *value = NULL;
    if (parse_comparison(r, &value) < 0)
        return -1;
    *ret = is_negated ? json_boolean(is_true(value) != negate) : steal(&value);
    return 0;
}

/* Operands joined by the word; of two, the later one counts if the one before it is this true. */
static int parse_chain(struct render *r, const char *word, bool goes_on_if,
                       int (*parse_operand)(struct render *r, json_t **ret), json_t **ret) {
    cleanup_json json_t *left = NULL;
    if (parse_operand(r, &left) < 0)
        return -1;
    while (jinja_lexer_is(&r->lexer, word)) {
        cleanup_json json_t *right = NULL;
        if (jinja_lexer_next(&r->lexer) < 0 || parse_operand(r, &right) < 0)
            return -1;
        if (is_true(left) == goes_on_if) {
            json_decref(left);
            left = steal(&right);
        }
    }
    *ret = steal(&left);
    return 0;
}

static int parse_and(struct render *r, json_t **ret) {
    return parse_chain(r, "and", true, parse_not, ret);
}

static int parse_or(struct render *r, json_t **ret) {
    return parse_chain(r, "or", false, parse_and, ret);
}

static int append(struct render *r, const char *text, size_t length) {
    if (r->live && buffer_append(r->out, text, length) < 0)
        return error_set(r->lexer.err, ERROR_LIMIT, "%s: what it makes is too long", r->lexer.what);
    return 0;
}

/* {{ expression }} */
static int render_output(struct render *r) {
    cleanup_json json_t *value = NULL;
    char mark[32];
    struct jinja_lexer start = r->lexer; /* for the line and the name */
    if (jinja_lexer_next(&r->lexer) < 0)
        return -1;
    start.token = r->lexer.token;
    if (parse_or(r, &value) < 0)
        return -1;
    if (r->lexer.token.kind != JINJA_END_OUTPUT)
        return jinja_lexer_fail(&r->lexer, "\"%s\" is not understood in {{ }}",
                                r->lexer.token.text);
    if (!r->live)
        return 0;
    if (value == NULL)
        return jinja_lexer_fail(&start,
                                "%s has no value: neither the request nor the kernelspec "
                                "has one",
                                start.token.text);
    int length = snprintf(mark, sizeof mark, OPEN "%zu" CLOSE, json_array_size(r->marked));
    json_array_append(r->marked, value);
    return append(r, mark, (size_t)length);
}

static int end_tag(struct render *r) {
    if (r->lexer.token.kind != JINJA_END_TAG)
        return jinja_lexer_fail(&r->lexer, "\"%s\" is not understood in {%% %%}",
                                r->lexer.token.text);
    return 0;
}

static enum tag_end render_until_tag(struct render *r);

/* Behind "if"; ends behind endif. */
static int render_if(struct render *r) {
    bool outer = r->live, done = false;
    enum tag_end tag = TAG_ELIF;
    while (tag == TAG_ELIF || tag == TAG_ELSE) {
        cleanup_json json_t *condition = NULL;
        bool is_last = tag == TAG_ELSE;
        r->live = outer && !done;
        if (!is_last && parse_or(r, &condition) < 0)
            return -1;
        if (end_tag(r) < 0)
            return -1;
        r->live = outer && !done && (is_last || is_true(condition));
        done = done || r->live;
        tag = render_until_tag(r);
        if (tag == TAG_BAD)
            return -1;
        if (is_last && tag != TAG_ENDIF)
            return jinja_lexer_fail(&r->lexer, "an {%% endif %%} is missing");
    }
    r->live = outer;
    return tag == TAG_ENDIF ? end_tag(r)
                            : jinja_lexer_fail(&r->lexer, "an {%% endif %%} is missing");
}

static int render_body(struct render *r, const struct jinja_lexer *body) {
    r->lexer = *body;
    enum tag_end tag = render_until_tag(r);
    if (tag == TAG_BAD)
        return -1;
    return tag == TAG_ENDFOR ? end_tag(r)
                             : jinja_lexer_fail(&r->lexer, "an {%% endfor %%} is missing");
}

static int parse_for(struct render *r, char **name, json_t **list) {
    struct jinja_token *token = &r->lexer.token;
    if (token->kind != JINJA_NAME)
        return jinja_lexer_fail(&r->lexer, "\"%s\" where the loop's name has to stand",
                                token->text);
    *name = memory_strdup(token->text);
    if (jinja_lexer_next(&r->lexer) < 0)
        return -1;
    if (!jinja_lexer_is(&r->lexer, "in"))
        return jinja_lexer_fail(&r->lexer, "\"%s\" where \"in\" has to stand", token->text);
    if (jinja_lexer_next(&r->lexer) < 0 || parse_or(r, list) < 0 || end_tag(r) < 0)
        return -1;
    if (r->live && *list != NULL && !json_is_array(*list))
        return jinja_lexer_fail(&r->lexer, "for %s: what it goes through is no list", *name);
    return 0;
}

/* Behind "for"; ends behind endfor. */
static int render_for(struct render *r) {
    bool outer = r->live;
    cleanup_free char *name = NULL;
    cleanup_json json_t *list = NULL;
    if (parse_for(r, &name, &list) < 0)
        return -1;
    struct jinja_lexer body = r->lexer;
    cleanup_json json_t *hidden = json_incref(json_object_get(r->loops, name));
    size_t count = outer ? json_array_size(list) : 0;
    for (size_t i = 0; i < count; i++) {
        json_object_set(r->loops, name, json_array_get(list, i));
        if (render_body(r, &body) < 0)
            return -1;
    }
    if (hidden != NULL)
        json_object_set(r->loops, name, hidden);
    else
        json_object_del(r->loops, name);
    r->live = false;
    int rc = count == 0 ? render_body(r, &body) : 0;
    r->live = outer;
    return rc;
}

/* Behind {%. TAG_BAD: failed, END_OF_TEXT: done, another: it belongs to the block around. */
static enum tag_end render_tag(struct render *r) {
    static const struct {
        const char *name;
        enum tag_end end;
    } ends[] = {
        {"elif", TAG_ELIF}, {"else", TAG_ELSE}, {"endif", TAG_ENDIF}, {"endfor", TAG_ENDFOR}};
    if (jinja_lexer_next(&r->lexer) < 0)
        return TAG_BAD;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (jinja_lexer_is(&r->lexer, ends[i].name)) {
            if (r->depth == 0)
                return jinja_lexer_fail(&r->lexer, "%s without its beginning", ends[i].name),
                       TAG_BAD;
            return jinja_lexer_next(&r->lexer) < 0 ? TAG_BAD : ends[i].end;
        }
    bool is_if = jinja_lexer_is(&r->lexer, "if");
    if (!is_if && !jinja_lexer_is(&r->lexer, "for"))
        return jinja_lexer_fail(&r->lexer,
                                "\"%s\" is not in the part of Jinja that is read here: "
                                "if, elif, else and for",
                                r->lexer.token.text),
               TAG_BAD;
    if (++r->depth > DEPTH_MAX)
        return jinja_lexer_fail(&r->lexer, "nested too deeply"), TAG_BAD;
    int rc = jinja_lexer_next(&r->lexer) < 0 ? -1 : is_if ? render_if(r) : render_for(r);
    r->depth--;
    return rc < 0 ? TAG_BAD : END_OF_TEXT;
}

static enum tag_end render_until_tag(struct render *r) {
    for (;;) {
        const char *literal;
        size_t length;
        enum jinja_begin begin = jinja_lexer_text(&r->lexer, &literal, &length);
        if (++r->steps > STEPS_MAX)
            return jinja_lexer_fail(&r->lexer, "too many rounds"), TAG_BAD;
        if (begin == JINJA_BAD || append(r, literal, length) < 0)
            return TAG_BAD;
        if (begin == JINJA_NOTHING)
            return END_OF_TEXT;
        if (begin == JINJA_OUTPUT && render_output(r) < 0)
            return TAG_BAD;
        enum tag_end tag = begin == JINJA_TAG ? render_tag(r) : END_OF_TEXT;
        if (tag != END_OF_TEXT)
            return tag;
    }
}

/* values NULL: nothing is made. */
static int render(const char *text, size_t length, const char *what, const json_t *values,
                  struct buffer *out, json_t *marked, struct error *err) {
    cleanup_json json_t *loops = json_object();
    if (length > TEXT_MAX)
        return error_set(err, ERROR_LIMIT, "%s: larger than %d KiB", what, TEXT_MAX >> 10);
    if (!utf8_is_valid(text, length) || memchr(text, '\0', length) != NULL)
        return error_set(err, ERROR_INVALID, "%s: it is not UTF-8 text", what);
    if (memmem(text, length, OPEN, strlen(OPEN)) != NULL ||
        memmem(text, length, CLOSE, strlen(CLOSE)) != NULL)
        return error_set(err, ERROR_INVALID, "%s: the characters U+E000 and U+E001 are not allowed",
                         what);
    struct render render = {
        .values = values, .loops = loops, .marked = marked, .out = out, .live = values != NULL};
    jinja_lexer_start(&render.lexer, text, length, what, err);
    return render_until_tag(&render) == END_OF_TEXT ? 0 : -1;
}

int jinja_render(const char *text, size_t length, const char *what, const json_t *values,
                 struct buffer *out, json_t **marked, struct error *err) {
    cleanup_json json_t *marks = json_array();
    if (render(text, length, what, values, out, marks, err) < 0)
        return -1;
    *marked = steal(&marks);
    return 0;
}

int jinja_check(const char *text, size_t length, const char *what, struct error *err) {
    return render(text, length, what, NULL, NULL, NULL, err);
}

bool jinja_is_marked(const char *text) {
    return strstr(text, OPEN) != NULL;
}

/* The value of the mark that begins at `at`; *after is behind it. */
static json_t *value_of_mark(const char *at, const json_t *marked, const char **after) {
    char *end;
    size_t index = strtoul(at + strlen(OPEN), &end, 10);
    if (!text_starts_with(end, CLOSE))
        return NULL;
    *after = end + strlen(CLOSE);
    return json_array_get(marked, index);
}

const json_t *jinja_next_value(const char **text, const json_t *marked) {
    const char *mark = strstr(*text, OPEN);
    return mark != NULL ? value_of_mark(mark, marked, text) : NULL;
}

int jinja_fill(const char *text, const json_t *marked, json_t **ret, struct error *err) {
    cleanup_buffer struct buffer out = {.limit = TEXT_MAX};
    int rc = 0;
    for (const char *at = text, *mark; rc == 0;) {
        mark = strstr(at, OPEN);
        size_t length = mark != NULL ? (size_t)(mark - at) : strlen(at);
        rc = buffer_append(&out, at, length);
        if (mark == NULL)
            break;
        const json_t *value = value_of_mark(mark, marked, &at);
        if (value == NULL)
            return error_set(err, ERROR_INVALID, "a mark without a value");
        if (mark == text && *at == '\0') {
            *ret = json_deep_copy(value);
            return 0;
        }
        if (json_is_string(value))
            rc = rc == 0 ? buffer_append_text(&out, json_string_value(value)) : -1;
        else if (json_is_integer(value))
            rc = rc == 0 ? buffer_printf(&out, "%lld", (long long)json_integer_value(value)) : -1;
        else
            return error_set(
                err, ERROR_INVALID,
                "a list or an object cannot be a part of a text; it has to stand alone");
    }
    if (rc < 0)
        return error_set(err, ERROR_LIMIT, "longer than %d KiB with its values", TEXT_MAX >> 10);
    *ret = json_string(buffer_text(&out));
    return 0;
}
