// gSOAP against a server: with the classes that wsdl2h -p and soapcpp2 -j made from the server's WSDL.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <sstream>

#include "kinds_x002esoap11.nsmap"
#include "soapkinds_x002esoap11Proxy.h"

using Any = xsd__anyType;
using Array = ns3__Array;
using Map = ns2__Map;
using MapItem = ns2__mapItem;

static const short version = std::string(getenv("VERSION")) == "1.2" ? 2 : 1;
static soap *context;

static std::string quote(const std::string &text)
{
    std::string out;
    for (unsigned char c : text) {
        char escaped[4];
        snprintf(escaped, sizeof escaped, "%%%02X", c);
        out += isascii(c) && (isalnum(c) || (c && strchr("-_.~", c))) ? std::string(1, c) : escaped;
    }
    return out;
}

static std::string words(LONG64 number) { return "i" + std::to_string(number); }
static std::string words(bool truth) { return truth ? "b1" : "b0"; }
static std::string words(const std::string &text) { return "s" + quote(text); }

static std::string words(double number)
{
    unsigned long long bits;
    char out[20];
    memcpy(&bits, &number, sizeof bits);
    snprintf(out, sizeof out, "d%016llx", bits);
    return out;
}

static std::string words_of_time(time_t time)
{
    char out[32];
    strftime(out, sizeof out, "t%Y%m%dT%H:%M:%S", gmtime(&time));
    return out;
}

static std::string words(const xsd__base64Binary &bytes)
{
    std::string out = "x";
    for (int at = 0; at < bytes.__size; at++) {
        char two[3];
        snprintf(two, sizeof two, "%02x", bytes.__ptr[at]);
        out += two;
    }
    return out;
}

static std::string words(const Any *value)
{
    if (!value)
        return "n";
    if (auto number = dynamic_cast<const xsd__long_ *>(value))
        return words(number->__item);
    if (auto number = dynamic_cast<const xsd__double_ *>(value))
        return words(number->__item);
    if (auto truth = dynamic_cast<const xsd__boolean_ *>(value))
        return words(truth->__item);
    if (auto text = dynamic_cast<const xsd__string_ *>(value))
        return words(text->__item);
    if (auto time = dynamic_cast<const xsd__dateTime_ *>(value))
        return words_of_time(time->__item);
    if (auto bytes = dynamic_cast<const xsd__base64Binary__ *>(value))
        return words(bytes->__item);
    std::string out;
    if (auto array = dynamic_cast<const Array *>(value)) {
        for (auto item : array->item)
            out += (out.empty() ? "" : ",") + words(item);
        return "[" + out + "]";
    }
    if (auto map = dynamic_cast<const Map *>(value)) {
        std::map<std::string, std::string> members;
        for (auto item : map->item)
            members[quote(item->key)] = words(item->value);
        for (auto &[name, member] : members)
            out += (out.empty() ? "" : ",") + name + ":" + member;
        return "{" + out + "}";
    }
    return "?";
}

// What is sent where the WSDL says anyType.
template <typename Class, typename Item> static Any *of(Item item)
{
    auto value = new Class;
    value->__item = item;
    return value;
}
static Any *i(LONG64 number) { return of<xsd__long_>(number); }
static Any *d(double number) { return of<xsd__double_>(number); }
static Any *b(bool truth) { return of<xsd__boolean_>(truth); }
static Any *s(const std::string &text) { return of<xsd__string_>(text); }
static Any *t(time_t time) { return of<xsd__dateTime_>(time); }

static xsd__base64Binary bytes(const std::string &content)
{
    xsd__base64Binary value;
    value.__size = (int)content.size();
    value.__ptr = (unsigned char *)soap_malloc(context, content.size() + 1);
    memcpy(value.__ptr, content.data(), content.size());
    return value;
}

static Array *a(std::vector<Any *> items)
{
    auto array = new Array;
    array->item = items;
    return array;
}

static Map *m(std::vector<std::pair<std::string, Any *>> members)
{
    auto map = new Map;
    for (auto &[name, member] : members) {
        auto item = new MapItem;
        item->key = name;
        item->value = member;
        map->item.push_back(item);
    }
    return map;
}

using Proxy = kinds_x002esoap11Proxy;

// The code and the text of the fault that came, or gSOAP's own error.
static std::string fault(Proxy &proxy)
{
    soap *of = proxy.soap;
    auto *said = of->fault;
    auto *detail = said ? (version == 2 ? said->SOAP_ENV__Detail : said->detail) : nullptr;
    if (detail && detail->ns3__fault)
        return "f" + std::to_string(detail->ns3__fault->code) + ":" + quote(soap_fault_string(of));
    std::ostringstream text;
    soap_stream_fault(of, text);
    std::string line = text.str();
    std::replace(line.begin(), line.end(), '\n', ' ');
    return "failed: " + line;
}

static void tell(const std::string &ability, const std::string &result)
{
    std::cout << ability << "\t" << result << std::endl;
}

// One call; `use` says what of its answer is told.
template <typename Request, typename Response, typename Method, typename Use>
static std::string call(Proxy &proxy, Method method, Request request, Use use)
{
    Response response;
    return (proxy.*method)(nullptr, nullptr, &request, response) == SOAP_OK ? use(response) : fault(proxy);
}

// A function that calls a method of this name; overloads and class names are gSOAP's.
#define METHOD(NAME)                                                                                                   \
    [](Proxy &proxy, _ns1__##NAME request, auto use) {                                                                 \
        using Method = int (Proxy::*)(const char *, const char *, _ns1__##NAME *, _ns1__##NAME##Response &);           \
        return call<_ns1__##NAME, _ns1__##NAME##Response>(proxy, (Method)&Proxy::NAME, request, use);                  \
    }

#define TYPED(ABILITY, NAME, WORDS, ...)                                                                               \
    {                                                                                                                  \
        std::string seen, back;                                                                                        \
        for (auto value : __VA_ARGS__) {                                                                               \
            _ns1__##NAME##_USCOREseen first;                                                                           \
            _ns1__##NAME##_USCOREsame second;                                                                          \
            first.arg0 = second.arg0 = value;                                                                          \
            const char *space = seen.empty() ? "" : " ";                                                               \
            seen += space + METHOD(NAME##_USCOREseen)(proxy, first, [](auto &got) { return got.return_; });            \
            back += space + METHOD(NAME##_USCOREsame)(proxy, second, [](auto &got) { return WORDS(got.return_); });    \
        }                                                                                                              \
        tell(ABILITY ".seen", seen);                                                                                   \
        tell(ABILITY ".back", back);                                                                                   \
    }

static void connect(Proxy &proxy, const char *address)
{
    static std::string endpoint;
    endpoint = std::string(getenv(address)) + "kinds";
    proxy.soap_endpoint = strdup(endpoint.c_str());
    soap_set_mode(proxy.soap, SOAP_C_UTFSTRING);
    // The table that soapcpp2 wrote has SOAP 1.2 first, which is what is sent; 1.1 is read as well.
    static Namespace old[sizeof namespaces / sizeof *namespaces];
    memcpy(old, namespaces, sizeof namespaces);
    for (int at = 0; at < 2; at++)
        std::swap(old[at].ns, old[at].in);
    soap_set_namespaces(proxy.soap, version == 2 ? namespaces : old);
    if (soap_ssl_client_context(proxy.soap, SOAP_SSL_DEFAULT, getenv("BOTH"), "", getenv("CA"), nullptr, nullptr)) {
        soap_stream_fault(proxy.soap, std::cerr);
        exit(1);
    }
}

static std::string described(Proxy &proxy, std::vector<Any *> values)
{
    _ns1__describe request;
    request.arg = values;
    return METHOD(describe)(proxy, request, [](auto &got) {
        auto text = dynamic_cast<xsd__string_ *>(got.return_);
        return text ? text->__item : std::string("no text");
    });
}

static std::string sum(Proxy &proxy, LONG64 one, LONG64 other)
{
    _ns1__add request;
    request.arg0 = one;
    request.arg1 = other;
    return METHOD(add)(proxy, request, [](auto &got) { return words(got.return_); });
}

int main()
{
    soap_ssl_init();
    Proxy proxy(SOAP_IO_KEEPALIVE);
    context = proxy.soap;
    connect(proxy, "URL");
    std::string every;
    for (int at = 0; at < 256; at++)
        every += (char)at;
    const LONG64 most = 9223372036854775807LL;
    TYPED("int", int, words,
        std::vector<LONG64>{0, 1, -1, 42, 2147483647, -2147483648LL, 9007199254740991LL, most, -most - 1});
    TYPED("double", double, words,
        std::vector<double>{0.5, -1.5, 0.1, 1e300, 5e-324, 1.7976931348623157e308, 3.0, -0.0});
    TYPED("boolean", boolean, words, {true, false});
    TYPED("string", string, words,
        std::vector<std::string>{"", " a ", "<&>\"']]>", "grüße €", "\U0001F600\U0001D11E", "a\tb\nc"});
    TYPED("dateTime", dateTime, words_of_time, std::vector<time_t>{1795334401, -1});
    TYPED("base64", base64, words, {bytes(every), bytes("")});
    TYPED("array", array, words, {a({}), a({a({})}), a({i(1), s("x"), a({d(2.5), a({b(true), a({})})})})});
    TYPED("struct", struct, words,
        {m({}), m({{"", i(1)}, {"a b", s("x")}, {"<&>", a({})}, {"é\U0001F600", m({{"deep", m({{"er", a({m({})})}})}})}})});

    _ns1__string_USCOREseen text;
    text.arg0 = "a\rb\r\nc";
    tell("cr.seen", METHOD(string_USCOREseen)(proxy, text, [](auto &got) { return got.return_; }));
    tell("cr.back", METHOD(returns)(proxy, _ns1__returns(), [](auto &got) { return words(got.return_); }));
    Any *content = of<xsd__base64Binary__>(bytes(std::string("\x00\xFF\x10", 3)));
    tell("any.seen", described(proxy, {i(1), s("x"), d(2.5), b(true), t(1795334401), content}));
    tell("any.back", METHOD(several)(proxy, _ns1__several(), [](auto &got) { return words(got.return_); }));
    tell("nil.seen", described(proxy, {nullptr, a({nullptr, m({{"a", nullptr}})})}));
    tell("nil.back", METHOD(nothing)(proxy, _ns1__nothing(), [](auto &got) { return words(got.return_); }));
    tell("version", METHOD(protocol)(proxy, _ns1__protocol(), [](auto &got) {
        return std::string(got.return_ == (version == 2 ? "soap12" : "soap11") ? "True" : "False");
    }));
    tell("fault.own", METHOD(fail)(proxy, _ns1__fail(), [](auto &) { return std::string("no fault"); }));

    Proxy relayed(SOAP_IO_KEEPALIVE);
    connect(relayed, "RELAY");
    std::string first = sum(relayed, 1, 2);
    tell("keep-alive", "[" + first + "," + sum(relayed, 3, 4) + "]");
    return 0;
}
