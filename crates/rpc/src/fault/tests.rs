use super::{Fault, FaultCode};

#[test]
fn each_code_of_the_table_comes_back_from_its_number() {
    for number in [-32700, -32600, -32601, -32602, -32603, 401, 403, 404, 409, 413, 429, 502, 503] {
        let code = FaultCode::from_number(number);
        assert_eq!(code.number(), number);
        assert!(!matches!(code, FaultCode::Service(_)), "{number} is in the table");
    }
    assert_eq!(FaultCode::from_number(7), FaultCode::Service(7));
    assert_eq!(FaultCode::Service(7).number(), 7);
}

#[test]
fn a_fault_prints_its_code_and_text() {
    let fault = Fault::new(FaultCode::OverLimit, "asked for 2, the limit is 1");
    assert_eq!(fault.to_string(), "fault 413: asked for 2, the limit is 1");
}
