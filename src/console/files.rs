//! The embedded files, and the paths that they are served at.

pub struct File {
    pub path: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";

pub static FILES: &[File] = &[File { path: "/", content_type: HTML, bytes: include_bytes!("page/index.html") }];
