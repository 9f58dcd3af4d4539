#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nesssi_fuzz::jsonrpc(data));
