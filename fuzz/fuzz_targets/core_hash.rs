#![no_main]

use filter_common::hash::{HashKey, LABEL_BUFFER_LEN, fold, fold_by_parts, label_hash};

// 24 bytes of key, then a label. The hash is the one of the description, whatever
// lies around the label and whatever its case.
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((words, label)) = bytes.split_first_chunk::<24>() else {
        return;
    };
    let label = &label[..label.len().min(63)];
    let word = |i: usize| u64::from_le_bytes(words[i * 8..][..8].try_into().expect("8 bytes"));
    let (key, parent) = (HashKey::from_words([word(0), word(1), word(2)]), word(0));
    let expected = described(label, &key, parent);
    for (at, around) in [(1, 0), (200, 0xff), (512 - 63, b'A')] {
        let mut buffer = [around; LABEL_BUFFER_LEN];
        buffer[at..at + label.len()].copy_from_slice(label);
        let hash = label_hash(&buffer, at, label.len(), &key, parent);
        assert_eq!(hash, expected, "at {at} among {around:#x}");
        buffer[at..at + label.len()].make_ascii_uppercase();
        let hash = label_hash(&buffer, at, label.len(), &key, parent);
        assert_eq!(hash, expected, "in capitals at {at} among {around:#x}");
    }
    assert_eq!(fold(word(1), word(2)), fold_by_parts(word(1), word(2)));
});

/// The hash as the module describes it, byte by byte in 128-bit numbers.
fn described(label: &[u8], key: &HashKey, parent: u64) -> u64 {
    let lower = label.to_ascii_lowercase();
    let mut state = parent.wrapping_add(key.length.wrapping_mul(label.len() as u64));
    let mut chunks: Vec<&[u8]> = lower.chunks(16).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    for chunk in chunks {
        let mut both = [0; 16];
        both[..chunk.len()].copy_from_slice(chunk);
        let both = u128::from_le_bytes(both);
        let low = both as u64 ^ state;
        let high = (both >> 64) as u64 ^ key.chunk;
        let product = u128::from(low) * u128::from(high);
        state = product as u64 ^ (product >> 64) as u64;
    }
    state
}
