/* xmlrpc-c, over its curl transport, against a server. */

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xmlrpc-c/base.h>
#include <xmlrpc-c/client.h>

static xmlrpc_client *client;

static void out_of_luck(const xmlrpc_env *env, const char *what)
{
    if (env->fault_occurred) {
        fprintf(stderr, "%s: %d: %s\n", what, env->fault_code, env->fault_string);
        exit(1);
    }
}

static xmlrpc_env fresh(void)
{
    xmlrpc_env env;
    xmlrpc_env_init(&env);
    return env;
}

static char *quoted(const char *text, size_t length)
{
    char *out = malloc(3 * length + 1), *end = out;
    for (size_t at = 0; at < length; at++) {
        unsigned char c = (unsigned char)text[at];
        bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("-_.~", c);
        end += sprintf(end, plain && c ? "%c" : "%%%02X", c);
    }
    *end = 0;
    return out;
}

static void quote(const char *text, size_t length)
{
    char *words = quoted(text, length);
    printf("%s", words);
    free(words);
}

struct named {
    char *name;
    xmlrpc_value *value;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static void words(xmlrpc_value *value)
{
    xmlrpc_env env = fresh();
    switch (xmlrpc_value_type(value)) {
    case XMLRPC_TYPE_NIL:
        printf("n");
        break;
    case XMLRPC_TYPE_BOOL: {
        xmlrpc_bool truth;
        xmlrpc_read_bool(&env, value, &truth);
        printf("b%d", truth != 0);
        break;
    }
    case XMLRPC_TYPE_INT: {
        int number;
        xmlrpc_read_int(&env, value, &number);
        printf("i%d", number);
        break;
    }
    case XMLRPC_TYPE_I8: {
        xmlrpc_int64 number;
        xmlrpc_read_i8(&env, value, &number);
        printf("i%lld", (long long)number);
        break;
    }
    case XMLRPC_TYPE_DOUBLE: {
        double number;
        unsigned long long bits;
        xmlrpc_read_double(&env, value, &number);
        memcpy(&bits, &number, sizeof bits);
        printf("d%016llx", bits);
        break;
    }
    case XMLRPC_TYPE_STRING: {
        size_t length;
        const char *text;
        xmlrpc_read_string_lp(&env, value, &length, &text);
        out_of_luck(&env, "a string");
        printf("s");
        quote(text, length);
        free((void *)text);
        break;
    }
    case XMLRPC_TYPE_BASE64: {
        size_t length;
        const unsigned char *bytes;
        xmlrpc_read_base64(&env, value, &length, &bytes);
        out_of_luck(&env, "a base64");
        printf("x");
        for (size_t at = 0; at < length; at++)
            printf("%02x", bytes[at]);
        free((void *)bytes);
        break;
    }
    case XMLRPC_TYPE_DATETIME: {
        const char *text;
        xmlrpc_read_datetime_str(&env, value, &text);
        out_of_luck(&env, "a dateTime");
        printf("t%s", text);
        free((void *)text);
        break;
    }
    case XMLRPC_TYPE_ARRAY: {
        int count = xmlrpc_array_size(&env, value);
        printf("[");
        for (int at = 0; at < count; at++) {
            xmlrpc_value *item;
            xmlrpc_array_read_item(&env, value, (unsigned)at, &item);
            if (at > 0)
                printf(",");
            words(item);
            xmlrpc_DECREF(item);
        }
        printf("]");
        break;
    }
    default: {
        int count = xmlrpc_struct_size(&env, value);
        struct named members[16];
        for (int at = 0; at < count && at < 16; at++) {
            xmlrpc_value *name;
            size_t length;
            const char *text;
            xmlrpc_struct_read_member(&env, value, (unsigned)at, &name, &members[at].value);
            xmlrpc_read_string_lp(&env, name, &length, &text);
            out_of_luck(&env, "a struct");
            members[at].name = quoted(text, length);
            free((void *)text);
            xmlrpc_DECREF(name);
        }
        qsort(members, (size_t)count, sizeof *members, by_name);
        printf("{");
        for (int at = 0; at < count; at++) {
            printf("%s%s:", at > 0 ? "," : "", members[at].name);
            words(members[at].value);
            xmlrpc_DECREF(members[at].value);
            free(members[at].name);
        }
        printf("}");
    }
    }
    out_of_luck(&env, "what came");
}

static xmlrpc_value *call_at(const char *url, xmlrpc_env *env, const char *method, xmlrpc_value *params)
{
    xmlrpc_value *result = NULL;
    xmlrpc_server_info *server = xmlrpc_server_info_new(env, url);
    xmlrpc_client_call2(env, client, server, method, params, &result);
    xmlrpc_server_info_free(server);
    xmlrpc_DECREF(params);
    return result;
}

/* Says a call's answer; a text that `raw` asks for, as it is. */
static void tell(const char *ability, bool raw, const char *method, xmlrpc_value *params)
{
    xmlrpc_env env = fresh();
    xmlrpc_value *result = call_at(getenv("URL"), &env, method, params);
    printf("%s\t", ability);
    if (env.fault_occurred) {
        /* What xmlrpc-c itself says before the server's text. */
        const char *own = "RPC failed at server.  ", *said = env.fault_string;
        if (strncmp(said, own, strlen(own)) == 0)
            said += strlen(own);
        printf("f%d:", env.fault_code);
        quote(said, strlen(said));
    } else if (raw) {
        const char *text;
        xmlrpc_read_string(&env, result, &text);
        printf("%s", text);
        free((void *)text);
    } else {
        words(result);
    }
    printf("\n");
}

static xmlrpc_value *build(const char *format, ...)
{
    xmlrpc_env env = fresh();
    xmlrpc_value *value;
    const char *suffix;
    va_list args;
    va_start(args, format);
    xmlrpc_build_value_va(&env, format, args, &value, &suffix);
    va_end(args);
    out_of_luck(&env, format);
    return value;
}

static void both(const char *ability, xmlrpc_value *params)
{
    char name[64];
    xmlrpc_INCREF(params);
    snprintf(name, sizeof name, "%s.seen", ability);
    tell(name, true, "kinds.describe", params);
    snprintf(name, sizeof name, "%s.back", ability);
    tell(name, false, "echo.echo", params);
}

static xmlrpc_value *text(const char *utf8)
{
    xmlrpc_env env = fresh();
    xmlrpc_value *value = xmlrpc_string_new(&env, utf8);
    out_of_luck(&env, "text");
    return value;
}

static xmlrpc_value *large(long long number)
{
    xmlrpc_env env = fresh();
    return xmlrpc_i8_new(&env, number);
}

static xmlrpc_value *stooges(int moe, int curly)
{
    return build("{s:i,s:i,s:i}", "moe", moe, "larry", 2, "curly", curly);
}

static void introspection(void)
{
    xmlrpc_env env = fresh();
    xmlrpc_value *names = call_at(getenv("URL"), &env, "system.listMethods", build("()"));
    out_of_luck(&env, "system.listMethods");
    int found = 0;
    for (int at = 0; at < xmlrpc_array_size(&env, names); at++) {
        xmlrpc_value *item;
        const char *name;
        xmlrpc_array_read_item(&env, names, (unsigned)at, &item);
        xmlrpc_read_string(&env, item, &name);
        found += strcmp(name, "kinds.describe") == 0;
        free((void *)name);
        xmlrpc_DECREF(item);
    }
    printf("introspection.list\tb%d\n", found);
    tell("introspection.help", false, "system.methodHelp", build("(s)", "kinds.add"));
    tell("introspection.signature", false, "system.methodSignature", build("(s)", "kinds.add"));
}

static void multicall(void)
{
    xmlrpc_env env = fresh();
    xmlrpc_value *calls = build("(({s:s,s:(ii)}{s:s,s:()}{s:s,s:(s)}))", "methodName", "kinds.add", "params", 1, 2,
        "methodName", "kinds.fail", "params", "methodName", "echo.echo", "params", "last");
    xmlrpc_value *answer = call_at(getenv("URL"), &env, "system.multicall", calls);
    out_of_luck(&env, "system.multicall");
    printf("multicall\t");
    for (int at = 0; at < xmlrpc_array_size(&env, answer); at++) {
        xmlrpc_value *one, *inner;
        xmlrpc_array_read_item(&env, answer, (unsigned)at, &one);
        if (at > 0)
            printf(" ");
        if (xmlrpc_value_type(one) == XMLRPC_TYPE_STRUCT) {
            int code;
            const char *said;
            xmlrpc_decompose_value(&env, one, "{s:i,s:s,*}", "faultCode", &code, "faultString", &said);
            out_of_luck(&env, "a fault in its place");
            printf("f%d:", code);
            quote(said, strlen(said));
        } else {
            xmlrpc_array_read_item(&env, one, 0, &inner);
            words(inner);
        }
    }
    printf("\n");
}

static void validator1(void)
{
    char hundred[150][16];
    xmlrpc_env env = fresh();
    xmlrpc_value *many = xmlrpc_array_new(&env);
    for (int at = 0; at < 150; at++) {
        snprintf(hundred[at], sizeof hundred[at], "no %d", at);
        xmlrpc_array_append_item(&env, many, text(hundred[at]));
    }
    tell("validator1.arrayOfStructsTest", false, "validator1.arrayOfStructsTest",
        build("((VVV))", stooges(1, 3), stooges(1, -30), stooges(1, 3)));
    tell("validator1.countTheEntities", false, "validator1.countTheEntities", build("(s)", "<<<>>&&&&'\"\"\"\"\" x"));
    tell("validator1.easyStructTest", false, "validator1.easyStructTest", build("(V)", stooges(1, 3)));
    tell("validator1.echoStructTest", false, "validator1.echoStructTest",
        build("({s:V,s:V})", "one", stooges(1, 3), "two", stooges(9, 3)));
    tell("validator1.manyTypesTest", false, "validator1.manyTypesTest",
        build("(ibsd86)", 7, (xmlrpc_bool)1, "\xC3\xA4", 2.5, "20261122T08:00:01", "\x00\xFF\x10", (size_t)3));
    tell("validator1.moderateSizeArrayCheck", false, "validator1.moderateSizeArrayCheck", build("(V)", many));
    tell("validator1.nestedStructTest", false, "validator1.nestedStructTest",
        build("({s:{},s:{s:{s:{}},s:{s:V,s:{}}}})", "1999", "2000", "03", "31", "04", "01", stooges(1, 3), "02"));
    tell("validator1.simpleStructReturnTest", false, "validator1.simpleStructReturnTest", build("(i)", 42));
}

int main(void)
{
    unsigned char every[256];
    for (int at = 0; at < 256; at++)
        every[at] = (unsigned char)at;

    struct xmlrpc_curl_xportparms curl;
    memset(&curl, 0, sizeof curl);
    curl.ssl_cert = getenv("CERTIFICATE");
    curl.sslkey = getenv("KEY");
    curl.cainfo = getenv("CA");
    struct xmlrpc_clientparms parms;
    memset(&parms, 0, sizeof parms);
    parms.transport = "curl";
    parms.transportparmsP = &curl;
    parms.transportparm_size = XMLRPC_CXPSIZE(capath);
    parms.dialect = xmlrpc_dialect_i8;
    xmlrpc_env env = fresh();
    xmlrpc_client_setup_global_const(&env);
    xmlrpc_client_create(&env, XMLRPC_CLIENT_NO_FLAGS, "nesssi-test", "1", &parms, XMLRPC_CPSIZE(dialect), &client);
    out_of_luck(&env, "a client");

    both("int", build("(iiiiii)", 0, 1, -1, 42, 2147483647, -2147483647 - 1));
    tell("i8.seen", true, "kinds.describe",
        build("(VVVVV)", large(2147483648LL), large(-2147483649LL), large(9007199254740991LL),
            large(9223372036854775807LL), large(-9223372036854775807LL - 1)));
    tell("i8.back", false, "kinds.large", build("()"));
    both("double", build("(dddddddd)", 0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0));
    both("boolean", build("(bb)", (xmlrpc_bool)1, (xmlrpc_bool)0));
    both("string", build("(sssss)", "", " a ", "<&>\"']]>", "gr\xC3\xBC\xC3\x9F" "e \xE2\x82\xAC", "a\tb\nc"));
    tell("cr.seen", true, "kinds.describe", build("(V)", xmlrpc_string_new_lp_cr(&env, 6, "a\rb\r\nc")));
    tell("cr.back", false, "kinds.returns", build("()"));
    tell("dateTime.seen", true, "kinds.describe", build("(88)", "20261122T08:00:01", "19691231T23:59:59"));
    tell("dateTime.back", false, "echo.echo", build("(8)", "20261122T08:00:01"));
    both("base64", build("(66)", every, (size_t)256, every, (size_t)0));
    both("array", build("(()(())(is(d(b()))))", 1, "x", 2.5, (xmlrpc_bool)1));
    both("struct", build("({}{s:i,s:s,s:(),s:{s:{s:({})}}})", "", 1, "a b", "x", "<&>", "\xC3\xA9", "deep", "er"));
    tell("nil.seen", true, "kinds.describe", build("(n(n{s:n}))", "a"));
    tell("nil.back", false, "kinds.nothing", build("()"));
    tell("fault.none", false, "no.such", build("()"));
    tell("fault.own", false, "kinds.fail", build("()"));
    introspection();
    multicall();

    xmlrpc_value *first = call_at(getenv("RELAY"), &env, "kinds.add", build("(ii)", 1, 2));
    xmlrpc_value *second = call_at(getenv("RELAY"), &env, "kinds.add", build("(ii)", 3, 4));
    out_of_luck(&env, "two calls");
    printf("keep-alive\t");
    words(build("(VV)", first, second));
    printf("\n");

    validator1();
    xmlrpc_client_destroy(client);
    return 0;
}
