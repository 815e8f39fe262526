//! The inputs that fuzzing kept, through the same functions: a corpus that nobody runs would rot.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

#[test]
fn every_kept_input_holds() {
    for (name, target) in targets::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut count = 0;
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            // A panic is told together with its input.
            eprintln!("{}", path.display());
            target(&fs::read(&path).expect("a readable file"));
            count += 1;
        }
        assert!(count >= 5, "{}: {count} inputs", folder.display());
    }
}
