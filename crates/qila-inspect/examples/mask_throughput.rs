//! Prints how fast bodies are masked, in MB/s: `cargo run --release -p qila-inspect --example mask_throughput`.
use qila_inspect::mask::Masker;
use std::time::Instant;

fn main() {
    let key = |n: usize| format!("sk-proj-{n:04}-Zx81kQw0Lr7TbVnM3yHsE5uJdGfA2cP9oI6");
    let words = "the quick brown fox {\"delta\": \"jumps\"} over 1234567890 lazy dogs;\n";
    let noise = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let texts = [
        ("text", words.as_bytes().repeat(1 << 14)),
        ("random", (0..1 << 20).map(noise).collect()),
        (
            "base64",
            (0..1 << 20)
                .filter_map(|i| {
                    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
                    alphabet.get(usize::from(noise(i) & 63)).copied()
                })
                .collect(),
        ),
        (
            "hostile: beginnings of the key",
            "sk-proj-0000-Zx81kQw0Lr7TbVnM3yHsE5uJdGfA2cP9oI"
                .as_bytes()
                .repeat(20_000),
        ),
        ("echo of the key", key(0).into_bytes().repeat(20_000)),
    ];
    for secrets in [0, 1, 10, 64] {
        let keys: Vec<String> = (0..secrets).map(key).collect();
        let refs: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
        let Ok(masker) = Masker::new(&refs) else { return };
        for (name, text) in &texts {
            for piece in [1 << 14, 1 << 10] {
                let mut out = Vec::with_capacity(2 * text.len());
                let start = Instant::now();
                let (mut stream, mut total) = (masker.stream(), 0);
                while start.elapsed().as_millis() < 200 {
                    for piece in text.chunks(piece) {
                        out.clear();
                        stream.push(piece, &mut out);
                    }
                    total += text.len();
                }
                let speed = total as f64 / start.elapsed().as_secs_f64() / 1e6;
                println!("{secrets:3} secrets, pieces of {piece:5}, {name:31} {speed:8.0} MB/s");
            }
        }
    }
}
