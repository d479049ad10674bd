#include "kernelspecs/jinja.h"

#include "base/yaml.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static json_t *values(void) {
    return json_pack("{s:s, s:s, s:s, s:s, s:[{s:s}, {s:s}], s:[]}", "name", "ann", "empty", "",
                     "number", "1000", "hostile", "x}},{\"hostPath\":{\"path\":/}}\n- a: b #",
                     "mounts", "name", "home", "name", "data", "none");
}

/* What the template makes, with the values of the marks in it. */
static char *outcome(const char *text) {
    struct buffer out = {0}, framed = {0};
    struct error err = {0};
    json_t *known = values(), *marked = NULL, *filled = NULL;
    char *made;
    if (jinja_render(text, strlen(text), "pod.j2", known, &out, &marked, &err) < 0) {
        made = strdup(err.text);
    } else {
        buffer_printf(&framed, ">%s", buffer_text(&out)); /* never a mark alone */
        made = jinja_fill(buffer_text(&framed), marked, &filled, &err) < 0
                   ? strdup(err.text)
                   : strdup(json_string_value(filled) + 1);
    }
    buffer_free(&out);
    buffer_free(&framed);
    json_decref(filled);
    json_decref(marked);
    json_decref(known);
    return made;
}

static void texts_come_out_as_jinja_makes_them(void **state) {
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"", ""},
        {"a: b\n", "a: b\n"},
        {"a: \"{{ name }}\"\n", "a: \"ann\"\n"},
        {"{{name}}{{ number | int }}{{ name | yaml_safe }}", "ann1000ann"},
        {"  {% if name %}\nx\n  {% endif %}\ny", "x\ny"},
        {"a {% if name %} b {% endif %} c", "a  b  c"},
        {"a\n  {%- if name -%}\n  b\n{%- endif %}\nc", "abc"},
        {"a{# {{ name }} {% if #}b", "ab"},
        {"a\n  {# note #}\nb", "a\nb"},
        {"{% if unknown is defined %}a{% elif name is defined %}b{% else %}c{% endif %}", "b"},
        {"{% if unknown %}a{% else %}c{% endif %}", "c"},
        {"{% if empty or none or unknown %}a{% endif %}", ""},
        {"{% if empty or name and not unknown %}a{% endif %}", "a"},
        {"{% if (unknown or name) and name == 'ann' %}a{% endif %}", "a"},
        {"{% if name != \"ann\" %}a{% endif %}", ""},
        {"{% if unknown is not defined %}a{% endif %}", "a"},
        {"{% if empty is defined %}a{% endif %}", "a"},
        {"{% if name %}{% if empty %}a{% else %}b{% endif %}{% endif %}", "b"},
        {"{% if empty %}{{ unknown }}{{ name | int }}{% endif %}b", "b"},
        {"{% for m in mounts %}\n- x\n{% endfor %}\n", "- x\n- x\n"},
        {"{% for m in none %}x{{ m }}{% endfor %}{% for m in unknown %}x{% endfor %}", ""},
        {"{% for name in mounts %}.{% endfor %}{{ name }}", "..ann"},
        {"{{ empty or name }}", "ann"},
        {"} %} }} { # $name ${name}", "} %} }} { # $name ${name}"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *made = outcome(rows[i].text);
        assert_string_equal(made, rows[i].expected);
        free(made);
    }
}

static void mistakes_are_told_with_line_and_construct(void **state) {
    static const struct {
        const char *text, *expected;
    } rows[] = {
        {"a\n{{ name", "pod.j2:2: a }} or %} is missing"},
        {"{% include 'x' %}",
         "pod.j2:1: \"include\" is not in the part of Jinja that is read here: "
         "if, elif, else and for"},
        {"\n\n{{ name | upper }}",
         "pod.j2:3: the filter \"upper\" is not known; int and yaml_safe are"},
        {"{{ name | int }}", "pod.j2:1: | int: the value is no whole number"},
        {"{{ name.first }}", "pod.j2:1: \".\" is not understood in {{ }}"},
        {"{{ f(name) }}", "pod.j2:1: \"(\" is not understood in {{ }}"},
        {"{% if name is none %}{% endif %}",
         "pod.j2:1: the test \"is none\" is not known; \"is defined\" is"},
        {"{% if name %}\n\n", "pod.j2:3: an {% endif %} is missing"},
        {"{% for x in mounts %}{% endif %}", "pod.j2:1: an {% endfor %} is missing"},
        {"{% if name %}{% else %}{% else %}{% endif %}", "pod.j2:1: an {% endif %} is missing"},
        {"{% endif %}", "pod.j2:1: endif without its beginning"},
        {"{% for x of mounts %}{% endfor %}", "pod.j2:1: \"of\" where \"in\" has to stand"},
        {"{% for x in name %}{% endfor %}", "pod.j2:1: for x: what it goes through is no list"},
        {"{# never ends", "pod.j2:1: a #} is missing"},
        {"a\nb: /home/{{ unknown }}\n", "pod.j2:2: unknown has no value: neither the request nor "
                                        "the kernelspec has one"},
        {"{{ 'a\\n' }}", "pod.j2:1: a \\ in a text is not in the part of Jinja that is read here"},
        {"{{ \xc3\xa9 }}", "pod.j2:1: \"\xc3\xa9\" where a name or a text has to stand"},
        {"a\xee\x80\x80", "pod.j2: the characters U+E000 and U+E001 are not allowed"},
        {"\xff", "pod.j2: it is not UTF-8 text"},
        {"a {{ mounts }} b",
         "a list or an object cannot be a part of a text; it has to stand alone"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *made = outcome(rows[i].text);
        assert_string_equal(made, rows[i].expected);
        free(made);
    }
}

/* What a mark of the parsed document stands for. */
static json_t *filled(const json_t *text, const json_t *marked) {
    json_t *value = NULL;
    struct error err = {0};
    assert_int_equal(jinja_fill(json_string_value(text), marked, &value, &err), 0);
    return value;
}

static void a_value_is_never_syntax(void **state) {
    static const char template[] = "a: {{ hostile }}\nb: \"{{ hostile }}\"\nc: [{{ hostile }}]\n"
                                   "d:\n{% for m in mounts %}\n- {{ m }}\n{% endfor %}\n"
                                   "e: {{ number | int }}\nf: /x/{{ hostile }}/y # {{ name }}\n";
    struct buffer out = {0};
    struct error err = {0};
    json_t *known = values(), *marked = NULL, *tree = NULL;
    const char *hostile = json_string_value(json_object_get(known, "hostile"));
    (void)state;
    assert_int_equal(jinja_render(template, strlen(template), "pod.j2", known, &out, &marked, &err),
                     0);
    assert_int_equal(yaml_parse(buffer_text(&out), out.length, &tree, &err), 0);
    assert_int_equal(json_object_size(tree), 6);
    for (const char *key = "abc"; *key != '\0'; key++) {
        const json_t *text = json_object_get(tree, (char[]){*key, '\0'});
        json_t *value = filled(*key == 'c' ? json_array_get(text, 0) : text, marked);
        assert_string_equal(json_string_value(value), hostile);
        json_decref(value);
    }
    json_t *mounts = json_object_get(tree, "d");
    assert_int_equal(json_array_size(mounts), 2);
    json_t *mount = filled(json_array_get(mounts, 1), marked);
    assert_string_equal(json_string_value(json_object_get(mount, "name")), "data");
    json_t *number = filled(json_object_get(tree, "e"), marked);
    assert_int_equal(json_integer_value(number), 1000);
    json_t *path = filled(json_object_get(tree, "f"), marked);
    assert_memory_equal(json_string_value(path), "/x/x}},{", 8);
    assert_true(jinja_is_marked(json_string_value(json_object_get(tree, "f"))));
    json_decref(path);
    json_decref(number);
    json_decref(mount);
    json_decref(tree);
    json_decref(marked);
    json_decref(known);
    buffer_free(&out);
}

static void loops_and_depth_have_an_end(void **state) {
    struct buffer text = {0}, out = {.limit = 1 << 20};
    struct error err = {0};
    json_t *known = json_object(), *list = json_array(), *marked = NULL;
    (void)state;
    for (int i = 0; i < 100; i++)
        json_array_append_new(list, json_integer(i));
    json_object_set_new(known, "l", list);
    for (int i = 0; i < 5; i++)
        buffer_append_text(&text, "{% for x in l %}");
    for (int i = 0; i < 5; i++)
        buffer_append_text(&text, "{% endfor %}");
    assert_int_equal(
        jinja_render(buffer_text(&text), text.length, "pod.j2", known, &out, &marked, &err), -1);
    assert_string_equal(err.text, "pod.j2:1: too many rounds");
    buffer_clear(&text);
    for (int i = 0; i < 100; i++)
        buffer_append_text(&text, "{{ (");
    assert_int_equal(
        jinja_render(buffer_text(&text), text.length, "pod.j2", known, &out, &marked, &err), -1);
    json_decref(known);
    buffer_free(&text);
    buffer_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_out_as_jinja_makes_them),
        cmocka_unit_test(mistakes_are_told_with_line_and_construct),
        cmocka_unit_test(a_value_is_never_syntax),
        cmocka_unit_test(loops_and_depth_have_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
