//! The embedded files, and the paths that they are served at.

pub struct File {
    pub path: &'static str,
    pub content_type: &'static str,
    pub bytes: &'static [u8],
}

pub static FILES: &[File] = &[
    File { path: "/", content_type: HTML, bytes: include_bytes!("page/index.html") },
    File { path: "/page.css", content_type: CSS, bytes: include_bytes!("page/page.css") },
    File { path: "/page.js", content_type: SCRIPT, bytes: include_bytes!("page/page.js") },
    File { path: "/figures.js", content_type: SCRIPT, bytes: include_bytes!("page/figures.js") },
    File { path: "/people.js", content_type: SCRIPT, bytes: include_bytes!("page/people.js") },
    File { path: "/socket.js", content_type: SCRIPT, bytes: include_bytes!("page/socket.js") },
    File { path: "/icon.svg", content_type: IMAGE, bytes: include_bytes!("page/icon.svg") },
    File { path: "/vendor/centrifuge.js", content_type: SCRIPT, bytes: include_bytes!("page/vendor/centrifuge.js") },
    File { path: "/vendor/LICENSE", content_type: TEXT, bytes: include_bytes!("page/vendor/LICENSE") },
];

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const IMAGE: &str = "image/svg+xml";
