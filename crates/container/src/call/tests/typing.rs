use nesssi_rpc::Value;

use super::world::{ALICE, Folder, MALLORY, World, certified, folder};

#[tokio::test]
async fn parameters_are_held_against_the_declared_types_after_access_and_before_any_code() {
    let description = r#"{"methods":[
        {"name":"add","signature":[["int","int","double"]],"parameters":["n1","n2"]},
        {"name":"gen"}]}"#;
    let world = World::new(vec![Folder { description, ..folder("sums") }]).await;
    let (alice, int, text) = (certified(ALICE), Value::Int(3), Value::from("5"));
    let check = async |method: &str, params: &[Value], expected: &str| {
        assert_eq!(world.refused(&alice, method, params).await, expected);
    };
    let wrong = "-32602: parameter 2 (n2) of sums.add must be double; string was given";
    check("sums.add", &[int.clone(), text.clone()], wrong).await;
    let count = "-32602: sums.add takes 2 parameters (n1, n2), 1 was given";
    check("sums.add", std::slice::from_ref(&int), count).await;
    let monitor = "-32602: parameter 1 (session) of sums.monitor must be string; int was given";
    check("sums.monitor", std::slice::from_ref(&int), monitor).await;
    let built_in = "-32602: parameter 1 (session) of job.status must be string; int was given";
    check("job.status", std::slice::from_ref(&int), built_in).await;
    check("sums.none", std::slice::from_ref(&int), "-32601: no such method: sums.none").await;
    // Whoever may not call learns nothing of the types.
    let refused = world.refused(&certified(MALLORY), "sums.add", std::slice::from_ref(&text)).await;
    assert!(refused.starts_with("403: "), "{refused}");
    // Without a declaration all of it arrives.
    assert_eq!(world.call(&alice, "sums.gen", &[text, int.clone()]).await, Ok(Value::Int(1)));
    assert_eq!(
        world.call(&alice, "sums.add", &[int.clone(), Value::Int(5)]).await,
        Ok(Value::Int(8))
    );
}
