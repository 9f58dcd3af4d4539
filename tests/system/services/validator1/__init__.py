"""The methods of UserLand's validator1: what a client must carry to be called compatible with XML-RPC."""

from datetime import datetime

from nesssi import Fault


def array_of_structs_test(req, method_name, args: tuple[list]) -> int:
    """The sum of the members `curly` of an array of structs."""
    return sum(item["curly"] for item in args[0])


def count_the_entities(req, method_name, args: tuple[str]) -> dict:
    """How many of each of the five characters of XML are in the string."""
    names = {
        "ctLeftAngleBrackets": "<",
        "ctRightAngleBrackets": ">",
        "ctAmpersands": "&",
        "ctApostrophes": "'",
        "ctQuotes": '"',
    }
    return {name: args[0].count(character) for name, character in names.items()}


def easy_struct_test(req, method_name, args: tuple[dict]) -> int:
    """The sum of the members moe, larry and curly."""
    return stooges(args[0])


def echo_struct_test(req, method_name, args: tuple[dict]) -> dict:
    """The struct again."""
    return args[0]


def many_types_test(req, method_name, args: tuple[int, bool, str, float, datetime, bytes]) -> list:
    """An array of the six parameters."""
    kinds = [type(arg) for arg in args]
    if kinds != [int, bool, str, float, datetime, bytes]:
        raise Fault(-32602, f"other types were meant: {[kind.__name__ for kind in kinds]}")
    return args


def moderate_size_array_check(req, method_name, args: tuple[list]) -> str:
    """The first and the last of 100 to 200 strings, concatenated."""
    if not 100 <= len(args[0]) <= 200:
        raise Fault(-32602, f"100 to 200 strings were meant, not {len(args[0])}")
    return args[0][0] + args[0][-1]


def nested_struct_test(req, method_name, args: tuple[dict]) -> int:
    """The sum of the stooges of the first of April 2000 in a calendar of years, months and days."""
    return stooges(args[0]["2000"]["04"]["01"])


def simple_struct_return_test(req, method_name, args: tuple[int]) -> dict:
    """The number times 10, 100 and 1000."""
    return {f"times{factor}": args[0] * factor for factor in (10, 100, 1000)}


def stooges(struct):
    return struct["moe"] + struct["larry"] + struct["curly"]


methods_list = {
    "arrayOfStructsTest": array_of_structs_test,
    "countTheEntities": count_the_entities,
    "easyStructTest": easy_struct_test,
    "echoStructTest": echo_struct_test,
    "manyTypesTest": many_types_test,
    "moderateSizeArrayCheck": moderate_size_array_check,
    "nestedStructTest": nested_struct_test,
    "simpleStructReturnTest": simple_struct_return_test,
}
