/** Extensions of PHP: which an app asks for, and what the image needs to have them. */

/** Extensions that the official image has already. */
const builtIn = new Set(
  'core ctype curl date dom fileinfo filter ftp hash iconv json libxml mbstring mysqlnd openssl pcre pdo pdo_sqlite phar posix random readline reflection session simplexml sodium spl sqlite3 standard tokenizer xml xmlreader xmlwriter zlib'.split(
    ' ',
  ),
);

interface Extension {
  /** Debian's packages to compile it. */
  readonly build?: readonly string[];
  /** It is not in PHP's own source, but in PECL. */
  readonly isPecl?: boolean;
}

/** What `docker-php-ext-install` and `pecl` of the official image can make. */
const known: Readonly<Record<string, Extension>> = {
  bcmath: {},
  bz2: { build: ['libbz2-dev'] },
  calendar: {},
  exif: {},
  gd: { build: ['libfreetype-dev', 'libjpeg62-turbo-dev', 'libpng-dev', 'libwebp-dev'] },
  gettext: {},
  gmp: { build: ['libgmp-dev'] },
  intl: { build: ['libicu-dev'] },
  ldap: { build: ['libldap2-dev'] },
  mysqli: {},
  opcache: {},
  pcntl: {},
  pdo_mysql: {},
  pdo_pgsql: { build: ['libpq-dev'] },
  pgsql: { build: ['libpq-dev'] },
  soap: { build: ['libxml2-dev'] },
  sockets: {},
  xsl: { build: ['libxslt1-dev'] },
  zip: { build: ['libzip-dev'] },
  apcu: { isPecl: true },
  imagick: { isPecl: true, build: ['libmagickwand-dev'] },
  mongodb: { isPecl: true, build: ['libssl-dev'] },
  redis: { isPecl: true },
};

export interface Extensions {
  readonly packages: readonly string[];
  /** Texts for a shell. */
  readonly commands: readonly string[];
  /** Extensions that no preset can add. */
  readonly unknown: readonly string[];
}

export function extensionsFor(names: readonly string[]): Extensions {
  const plain = names.map((name) => name.toLowerCase().replace('zend-', ''));
  const missing = [...new Set(plain)].filter((name) => !builtIn.has(name)).toSorted();
  const own = missing.filter((name) => known[name] !== undefined && known[name].isPecl !== true);
  const pecl = missing.filter((name) => known[name]?.isPecl === true);
  return {
    packages: [...new Set(missing.flatMap((name) => known[name]?.build ?? []))],
    commands: [
      ...(own.includes('gd') ? ['docker-php-ext-configure gd --with-freetype --with-jpeg --with-webp'] : []),
      ...(own.length > 0 ? [`docker-php-ext-install -j"$(nproc)" ${own.join(' ')}`] : []),
      ...(pecl.length > 0 ? [`pecl install ${pecl.join(' ')} && docker-php-ext-enable ${pecl.join(' ')}`] : []),
    ],
    unknown: missing.filter((name) => known[name] === undefined),
  };
}
