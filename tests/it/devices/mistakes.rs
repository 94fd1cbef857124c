//! Mistakes in a profile, each of which is named.

use super::{HEAD, parse};

/// Each part of a profile, spoilt, and what is said about it.
#[test]
fn what_is_wrong_with_a_profile_is_said() {
    let text = r#"
engine = "text"
framing = { terminator = "<CR>" }
params = { addr = { default = "00" } }
[[on_connect]]
id = "hello"
send = "HI"
[[poll]]
steps = [{ send = "{addr}ms", expect = "{t:d5}" }]
[[channel]]
id = "temperature"
from = "t"
"#;
    let modbus = r#"
engine = "modbus"
modbus = { functions = [3] }
[[channel]]
id = "pressure"
table = "holding"
address = 0
type = "f32"
"#;
    for (body, from, to, expected) in [
        (text, "{addr}ms", "{adr}ms", "`{adr}` is not a parameter of this profile"),
        (text, "{addr}ms", "{t:d5}ms", "a message that is sent can't hold the field"),
        (text, "{addr}ms", "a<b", "begins no control token"),
        (text, "{t:d5}", "{t:q}", "the form is f, i, w"),
        (text, "from = \"t\"", "from = \"u\"", "no message has the field `u`"),
        (text, "from = \"t\"", "frm = \"t\"", "did you mean `from`?"),
        (text, "from = \"t\"", "from = \"t\"\ntable = \"input\"", "does not go with engine = \"text\""),
        (text, "from = \"t\"", "from = \"t\"\nscale = 0", "a scale of 0"),
        (text, "from = \"t\"", "from = \"t\"\nscale = \"{addr}x\"", "is not a number"),
        (text, "from = \"t\"", "from = \"t\"\nsentinel = { OFF = \"off\" }", "words go into `text`"),
        (text, "from = \"t\"", "from = \"t\"\nsentinel = { 1 = \"good\" }", "is no reason"),
        (text, "from = \"t\"", "from = \"t\"\nquality = { 0 = \"good\" }", "`quality` has no `from`"),
        (text, "from = \"t\"", "from = \"t\"\nquality = { from = \"s\" }", "`s` is no field of the message"),
        (
            text,
            "from = \"t\"",
            "from = \"t\"\nquality = { from = \"t\", 0 = \"fine day\" }",
            "says nothing about a value",
        ),
        (text, "from = \"t\"", "from = \"t\"\nplausible = [2, 1]", "[least, greatest]"),
        (text, "from = \"t\"", "from = \"t\"\ncurve = { kind = \"poly\", a = 1 }", "do not go with its `kind`"),
        (text, "from = \"t\"", "from = \"t\"\ncurve = { kind = \"table\", points = [[1, 1], [0, 0]] }", "have to rise"),
        (text, "from = \"t\"", "from = \"t\"\nevery = \"0s\"", "shorter than 1ms"),
        (
            text,
            "from = \"t\"",
            "from = \"t\"\n[[channel]]\nid = \"temperature\"\nfrom = \"t\"",
            "two channels are called",
        ),
        (text, "default = \"00\"", "type = \"int\", default = \"x\"", "it has to be a whole number"),
        (text, "default = \"00\"", "type = \"string\"", "has no `default`"),
        (text, "default = \"00\"", "default = \"<CR>\"", "it has to be printable ASCII"),
        (text, "steps = [{", "steps = [{ regex = \"a\", ", "`expect` or `regex`, not both"),
        (text, "expect = \"{t:d5}\"", "regex = \"(?<t>.*)\"", "needs `longest`"),
        (text, "id = \"hello\"\n", "", "has no `id`"),
        (text, "framing = { terminator = \"<CR>\" }", "", "has no `framing`"),
        (text, "terminator = \"<CR>\"", "terminator = \"\"", "has to be at least one byte"),
        (modbus, "address = 0", "address = 65535", "reaches beyond address 65535"),
        (modbus, "address = 0\n", "", "has no `address`"),
        (modbus, "table = \"holding\"", "table = \"input\"", "is read by function 4"),
        (modbus, "table = \"holding\"", "table = \"coil\"", "are single bits"),
        (modbus, "functions = [3]", "functions = [3, 16]", "the bridge has no function that writes"),
        (modbus, "functions = [3]", "max_regs = 1", "the value takes 2 registers"),
        (modbus, "type = \"f32\"", "type = \"str\"", "needs `regs`"),
        (modbus, "type = \"f32\"", "type = \"bit\"", "needs `bit`"),
        (modbus, "type = \"f32\"", "type = \"f32\"\nbit = 1", "goes with type = \"bit\""),
        (modbus, "type = \"f32\"", "type = \"f32\"\nfrom = \"t\"", "`from` names a field of a message"),
        (modbus, "type = \"f32\"", "type = \"f32\"\nquality = { from = \"state\" }", "has no channel `state`"),
        (
            modbus,
            "type = \"f32\"",
            "type = \"f32\"\nquality = { from = \"far\" }\n[[channel]]\nid = \"far\"\ntable = \"holding\"\naddress = 200\ntype = \"u16\"",
            "can't be read in one request",
        ),
        (
            modbus,
            "modbus = { functions = [3] }",
            "framing = { terminator = \"<CR>\" }",
            "does not go with engine = \"modbus\"",
        ),
    ] {
        let vector = "[[test]]\nsource = \"s\"\nexpect = { temperature = 1 }\n";
        parse(&format!("{HEAD}{body}{vector}")).unwrap_or_else(|problems| panic!("{problems}"));
        let spoilt = body.replacen(from, to, 1);
        assert!(spoilt != body, "the profile does not hold {from}");
        let problems = parse(&format!("{HEAD}{spoilt}{vector}")).map(|_| ()).expect_err(to);
        assert!(problems.contains(expected), "{from} -> {to}:\n{problems}");
    }
}
