/** Repositories of Ruby and PHP without packages, since their registries need not be reachable. */
import { type Entry, json, root } from '../entry.ts';

export const scriptEntries: readonly Entry[] = [
  {
    name: 'plain PHP',
    files: { 'index.php': '<?php echo "hello from PHP at ", $_SERVER["REQUEST_URI"];\n' },
    answers: root('hello from PHP at /'),
    image: true,
  },
  {
    name: 'PHP in public with a front controller',
    files: {
      'public/index.php':
        '<?php require __DIR__ . "/../src/text.php"; echo text(), " ", parse_url($_SERVER["REQUEST_URI"], PHP_URL_PATH);\n',
      'src/text.php': '<?php function text(): string { return "hello from src"; }\n',
      'composer.json': json({ require: { php: '>=8.0' } }),
    },
    answers: root('hello from src'),
  },
  {
    name: 'a server in Ruby',
    files: {
      'server.rb':
        'require "socket"\n\nserver = TCPServer.new(ENV.fetch("HOST", "0.0.0.0"), Integer(ENV.fetch("PORT")))\nloop do\n  client = server.accept\n  client.gets\n  body = "hello from Ruby"\n  client.print "HTTP/1.1 200 OK\\r\\nContent-Length: #{body.bytesize}\\r\\nConnection: close\\r\\n\\r\\n#{body}"\n  client.close\nend\n',
    },
    answers: root('hello from Ruby'),
    image: true,
  },
];
