/** Configures nginx to serve a site without root: it writes only below /tmp, and reads PORT when it starts. */

export const nginxConfigFile = 'nginx.holdfast.conf';

export function nginxConfig(): string {
  return `# Written by Holdfast's preset "static". __PORT__ becomes PORT when the container starts; __FALLBACK__ became a page, or nothing, in the build.
worker_processes 1;
pid /tmp/nginx.pid;
error_log stderr warn;

events {
  worker_connections 1024;
}

http {
  include /etc/nginx/mime.types;
  default_type application/octet-stream;
  charset utf-8;
  charset_types text/css text/javascript text/plain text/xml application/javascript application/json image/svg+xml;
  access_log off;
  log_not_found off;
  server_tokens off;
  sendfile on;
  keepalive_timeout 75s;

  client_body_temp_path /tmp/client_body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;

  gzip on;
  gzip_vary on;
  gzip_proxied any;
  gzip_min_length 1024;
  gzip_types text/css text/javascript text/plain text/xml application/javascript application/json application/manifest+json application/wasm application/xml image/svg+xml;

  # Whether a browser wants a page: by what it accepts, or any program that asks for a path without an ending.
  map "$http_accept|$uri" $wants_page {
    default 0;
    "~text/html" 1;
    "~^(\\*/\\*)?\\|(.*/)?[^./]*$" 1;
  }
  map "$wants_page$request_method" $fallback {
    default "";
    "~^1(GET|HEAD)$" "__FALLBACK__";
  }

  server {
    listen __PORT__;
    root /usr/share/nginx/html;
    index index.html;

    # Asked for again each time, and mostly answered with 304: a new version is seen at once.
    add_header Cache-Control no-cache always;
    add_header X-Content-Type-Options nosniff always;

    # Not even that they exist; .well-known is meant to be read (RFC 8615).
    location ~ /\\.(?!well-known/) {
      return 404;
    }

    location ~ \\.mjs$ {
      types {}
      default_type text/javascript;
    }

    # A relative way to the folder's slash: the path that callers use may have a prefix that does not come here.
    if (-d $request_filename) {
      rewrite ^(?:.*/)?([^/]+)$ ./$1/ permanent;
    }

    location / {
      try_files $uri $uri/index.html $uri.html @fallback;
    }

    location @fallback {
      if ($fallback != "") {
        rewrite ^ $fallback break;
      }
      return 404;
    }

    error_page 404 /404.html;
    location = /404.html {
      internal;
    }
  }
}
`;
}
