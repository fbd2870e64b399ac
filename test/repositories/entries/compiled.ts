/** Repositories of Go, Rust and Java. */
import { type Entry, root } from '../entry.ts';

/** A program of Go that answers with an expression. */
const goMain = (answer: string, imports: readonly string[] = []): string =>
  `package main\n\nimport (\n${['fmt', 'net/http', 'os', ...imports].map((path) => `\t"${path}"\n`).join('')})\n\nfunc main() {\n\thttp.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, ${answer}) })\n\tpanic(http.ListenAndServe(":"+os.Getenv("PORT"), nil))\n}\n`;

const rustServer = `use std::io::{Read, Write};
use std::net::TcpListener;

fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or("8080".into());
    let listener = TcpListener::bind(format!("0.0.0.0:{port}"))?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut buffer = [0; 4096];
        let _ = stream.read(&mut buffer)?;
        let body = TEXT;
        write!(stream, "HTTP/1.1 200 OK\\r\\nContent-Length: {}\\r\\nConnection: close\\r\\n\\r\\n{}", body.len(), body)?;
    }
    Ok(())
}
`;

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>example</groupId>
  <artifactId>shop</artifactId>
  <version>1.0</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source>
    <maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <build>
    <plugins>
      <plugin>
        <groupId>org.apache.maven.plugins</groupId>
        <artifactId>maven-jar-plugin</artifactId>
        <version>3.4.2</version>
        <configuration>
          <archive><manifest><mainClass>shop.Main</mainClass></manifest></archive>
        </configuration>
      </plugin>
    </plugins>
  </build>
</project>
`;

const javaMain = `package shop;

import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;

public class Main {
  public static void main(String[] args) throws Exception {
    var server = HttpServer.create(new InetSocketAddress(Integer.parseInt(System.getenv("PORT"))), 0);
    server.createContext("/", exchange -> {
      var body = "hello from Java".getBytes();
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
      exchange.close();
    });
    server.start();
  }
}
`;

export const compiledEntries: readonly Entry[] = [
  {
    name: 'Rust with axum',
    files: {
      'Cargo.toml':
        '[package]\nname = "shop"\nversion = "0.1.0"\nedition = "2021"\n\n[dependencies]\naxum = { version = "0.8", default-features = false, features = ["http1", "tokio"] }\ntokio = { version = "1", features = ["rt", "net", "macros"] }\n\n[profile.release]\nopt-level = 0\n',
      'src/main.rs':
        'use axum::{routing::get, Router};\n\n#[tokio::main(flavor = "current_thread")]\nasync fn main() {\n    let port = std::env::var("PORT").unwrap();\n    let listener = tokio::net::TcpListener::bind(format!("0.0.0.0:{port}")).await.unwrap();\n    axum::serve(listener, Router::new().route("/", get(|| async { "hello from axum" }))).await.unwrap();\n}\n',
    },
    answers: root('hello from axum'),
  },
  {
    name: 'Rust without crates',
    files: {
      'Cargo.toml': '[package]\nname = "plain"\nversion = "0.1.0"\nedition = "2021"\n',
      'src/main.rs': rustServer.replace('TEXT', '"hello from Rust"'),
    },
    answers: root('hello from Rust'),
  },
  {
    name: 'a jar of Maven',
    files: { 'pom.xml': pom, 'src/main/java/shop/Main.java': javaMain },
    answers: root('hello from Java'),
  },
  {
    name: 'Go in one file',
    files: { 'go.mod': 'module example.com/one\n\ngo 1.22\n', 'main.go': goMain('"hello from Go"') },
    answers: root('hello from Go'),
    image: true,
  },
  {
    name: 'a Go library with a program in cmd',
    files: {
      'go.mod': 'module example.com/shop\n\ngo 1.22\n',
      'shop.go': 'package shop\n\nfunc Text() string { return "hello from a library" }\n',
      'make.go': '//go:build ignore\n\npackage main\n\nfunc main() {}\n',
      'cmd/svc/main.go': goMain('shop.Text()', ['example.com/shop']),
    },
    answers: root('hello from a library'),
    image: true,
  },
  {
    name: 'a Go workspace',
    files: {
      'go.work': 'go 1.22\n\nuse (\n\t./lib\n\t./svc\n)\n',
      'lib/go.mod': 'module example.com/lib\n\ngo 1.22\n',
      'lib/lib.go': 'package lib\n\nfunc Text() string { return "hello from a workspace of Go" }\n',
      'svc/go.mod': 'module example.com/svc\n\ngo 1.22\n\nrequire example.com/lib v0.0.0\n',
      'svc/main.go': goMain('lib.Text()', ['example.com/lib']),
    },
    answers: root('hello from a workspace of Go'),
  },
  {
    name: 'Go with embedded files',
    files: {
      'go.mod': 'module example.com/embedded\n\ngo 1.22\n',
      'static/page.html': '<h1>hello from an embedded page</h1>',
      'main.go':
        'package main\n\nimport (\n\t"embed"\n\t"io/fs"\n\t"net/http"\n\t"os"\n)\n\n//go:embed static\nvar files embed.FS\n\nfunc main() {\n\tstatic, _ := fs.Sub(files, "static")\n\thttp.Handle("/", http.FileServerFS(static))\n\tpanic(http.ListenAndServe(":"+os.Getenv("PORT"), nil))\n}\n',
    },
    answers: [{ path: '/page.html', text: 'hello from an embedded page' }],
    image: true,
  },
];
