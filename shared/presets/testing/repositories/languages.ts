/** Repositories in Ruby, Java, PHP and Rust. */
import type { Repository } from '../repository.ts';

const java17 = '<maven.compiler.release>17</maven.compiler.release>';
const pom = (inside: string): string =>
  `<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>${inside}</project>`;
const boot =
  '<parent><groupId>org.springframework.boot</groupId><artifactId>spring-boot-starter-parent</artifactId></parent><properties><java.version>21</java.version></properties><build><plugins><plugin><artifactId>spring-boot-maven-plugin</artifactId></plugin></plugins></build>';
const spring =
  'java -Dserver.address=$HOLDFAST_HOST -Dserver.port=$PORT -Dserver.forward-headers-strategy=framework -jar .holdfast-app/app.jar';
const cargo = (name: string, rest = ''): string =>
  `[package]\nname = "${name}"\nversion = "0.1.0"\nedition = "2021"\n${rest}`;
const locked = (...names: string[]): string =>
  `GEM\n  remote: https://gems.example/\n  specs:\n${names.map((name) => `    ${name} (1.0)\n`).join('')}\nPLATFORMS\n  x86_64-linux\n`;

const ruby: readonly Repository[] = [
  {
    name: 'a Rack app with puma',
    files: {
      Gemfile: 'source "x"\nruby "3.3.5"\ngem "rack"\ngem "puma"\n',
      'Gemfile.lock': locked('rack', 'puma'),
      'config.ru': 'run ->(env) { [200, {}, ["x"]] }\n',
    },
    expected: {
      title: ['Rack', 'Bundler', 'Ruby 3.3.5'],
      images: ['ruby:3.3.5-slim', 'ruby:3.3.5-slim'],
      commands: ['bundle install'],
      start: 'bundle exec puma --bind "tcp://$HOLDFAST_HOST:$PORT" --environment production',
      env: { BUNDLE_DEPLOYMENT: '1' },
    },
  },
  {
    name: 'a Rails app with assets and a package.json',
    files: {
      'package.json': '{"scripts":{"build":"esbuild","start":"x"}}',
      Gemfile: 'gem "rails"\ngem "puma"\ngem "pg"\ngem "jsbundling-rails"\ngem "propshaft"\n',
      'Gemfile.lock': locked('rails', 'puma', 'pg', 'jsbundling-rails', 'propshaft'),
      '.ruby-version': 'ruby-3.4.1\n',
      'config.ru': '',
      'config/application.rb': '',
    },
    expected: {
      title: ['Rails', 'Bundler', 'Ruby 3.4.1'],
      packages: [
        ['build-essential', 'git', 'libyaml-dev', 'pkg-config', 'libpq-dev', 'libssl-dev', 'nodejs', 'npm'],
        ['libpq5'],
      ],
      env: { RAILS_SERVE_STATIC_FILES: '1', RAILS_LOG_TO_STDOUT: '1' },
      note: /SECRET_KEY_BASE/,
    },
  },
  {
    name: 'Sinatra in one file',
    files: { Gemfile: 'gem "sinatra"\ngem "webrick"\n', 'app.rb': 'require "sinatra"\nget("/") { "x" }\n' },
    expected: {
      title: ['Sinatra', 'Bundler', 'Ruby 3.4'],
      start: 'bundle exec ruby app.rb -o "$HOLDFAST_HOST" -p "$PORT" -e production',
    },
  },
  {
    name: 'falcon, and a lock file of another system',
    files: {
      Gemfile: 'ruby "~> 3.2.0"\ngem "falcon"\n',
      'Gemfile.lock': locked('falcon').replace('x86_64-linux', 'arm64-darwin-23'),
      'config.ru': '',
    },
    expected: {
      images: ['ruby:3.2-slim', 'ruby:3.2-slim'],
      commands: ['bundle lock --add-platform', 'bundle install'],
      start: 'bundle exec falcon serve --bind "http://$HOLDFAST_HOST:$PORT"',
    },
  },
  {
    name: 'a config.ru without a server',
    files: { Gemfile: 'gem "rack"\n', 'config.ru': '' },
    expected: { error: /the Gemfile has no server for it: add `gem "puma"`/ },
  },
  {
    name: 'a Ruby script',
    files: { 'server.rb': 'x = 1\n' },
    expected: { images: [undefined, 'ruby:3.4-slim'], start: 'ruby server.rb' },
  },
  {
    name: 'Jekyll',
    files: { Gemfile: 'gem "jekyll"\n', '_config.yml': '', 'index.html': '' },
    expected: { title: ['Jekyll', 'Bundler', 'Ruby 3.4'], site: ['_site'] },
  },
];

const java: readonly Repository[] = [
  {
    name: 'Spring Boot with Maven',
    files: { 'pom.xml': pom(boot) },
    expected: {
      title: ['Spring Boot', 'Maven', 'Java 21'],
      images: ['maven:3-eclipse-temurin-21', 'eclipse-temurin:21-jre'],
      commands: [
        'fetch the dependencies',
        'mvn --batch-mode --no-transfer-progress -DskipTests package',
        'take the app',
      ],
      start: spring,
      manifests: ['pom.xml'],
    },
  },
  {
    name: 'Spring Boot in a module of a Maven build with a wrapper',
    files: {
      'pom.xml': pom('<packaging>pom</packaging><modules><module>lib</module><module>web</module></modules>'),
      'lib/pom.xml': pom(''),
      'web/pom.xml': pom(boot),
      mvnw: '',
    },
    expected: {
      commands: [
        'fetch the dependencies',
        'sh ./mvnw --batch-mode --no-transfer-progress --projects web --also-make -DskipTests package',
        'take the app',
      ],
      manifests: ['pom.xml', 'lib/pom.xml', 'web/pom.xml', 'mvnw'],
    },
  },
  {
    name: 'Quarkus',
    files: {
      'pom.xml': pom(
        `<properties>${java17}</properties><build><plugins><plugin><groupId>io.quarkus.platform</groupId><artifactId>quarkus-maven-plugin</artifactId></plugin></plugins></build>`,
      ),
    },
    expected: {
      title: ['Quarkus', 'Maven', 'Java 17'],
      images: ['maven:3-eclipse-temurin-17', 'eclipse-temurin:17-jre'],
    },
  },
  {
    name: 'a war',
    files: { 'pom.xml': pom('<packaging>war</packaging>') },
    expected: { error: /makes a war, which needs an application server/ },
  },
  {
    name: 'Spring Boot with the Gradle wrapper, in Kotlin',
    files: {
      'build.gradle.kts':
        'plugins {\n  id("org.springframework.boot") version "3.3.0"\n}\njava { toolchain { languageVersion = JavaLanguageVersion.of(17) } }\n',
      'settings.gradle.kts': '',
      gradlew: '',
      'gradle/wrapper/gradle-wrapper.properties': 'distributionUrl=x/gradle-8.8-bin.zip\n',
    },
    expected: {
      title: ['Spring Boot', 'Gradle', 'Java 17'],
      images: ['eclipse-temurin:17-jdk', 'eclipse-temurin:17-jre'],
      commands: ['fetch the dependencies', 'sh ./gradlew --no-daemon --console=plain bootJar', 'take the app'],
      start: spring,
    },
  },
  {
    name: 'Gradle with the application plugin in a project of several',
    files: {
      'settings.gradle': "include 'app', 'lib'\n",
      'build.gradle': '',
      'app/build.gradle':
        "plugins { id 'application' }\napplication { mainClass = 'x.Main' }\nsourceCompatibility = 1.8\n",
      'lib/build.gradle': "plugins { id 'java-library' }\n",
    },
    expected: {
      title: ['Gradle', 'Java 8'],
      images: ['gradle:jdk8', 'eclipse-temurin:8-jre'],
      commands: ['fetch the dependencies', 'gradle --no-daemon --console=plain :app:installDist', 'take the app'],
    },
  },
  {
    name: 'an old Gradle wrapper that says no version of Java',
    files: {
      'build.gradle': "plugins { id 'application' }\n",
      gradlew: '',
      'gradle/wrapper/gradle-wrapper.properties': 'distributionUrl=x/gradle-6.9-bin.zip\n',
    },
    expected: { title: ['Gradle', 'Java 11'] },
  },
  {
    name: 'system.properties of Heroku',
    files: { 'pom.xml': pom(boot), 'system.properties': 'java.runtime.version=17\n' },
    expected: { title: ['Spring Boot', 'Maven', 'Java 17'] },
  },
];

const php: readonly Repository[] = [
  {
    name: 'an index.php',
    files: { 'index.php': '<?php\n' },
    expected: { title: ['PHP 8.4'], images: [undefined, 'php:8.4-apache'] },
  },
  {
    name: 'Composer with public/ and extensions',
    files: { 'composer.json': '{"require":{"php":"^8.1","ext-gd":"*","ext-mbstring":"*"}}', 'public/index.php': '' },
    expected: {
      title: ['Composer', 'PHP 8.4'],
      images: ['composer:2', 'php:8.4-apache'],
      packages: [[], ['libfreetype-dev', 'libjpeg62-turbo-dev', 'libpng-dev', 'libwebp-dev']],
      manifests: ['composer.json'],
    },
  },
  {
    name: 'Laravel with a front end',
    files: {
      artisan: '',
      'composer.json': '{"require":{"php":"~8.2.0","laravel/framework":"^11"}}',
      'composer.lock': '{}',
      'package.json': '{"scripts":{"build":"vite build","dev":"vite"}}',
      'public/index.php': '',
    },
    expected: {
      title: ['Laravel', 'Composer', 'PHP 8.2'],
      packages: [['nodejs', 'npm'], ['libpq-dev']],
      note: /APP_KEY/,
    },
  },
  {
    name: 'Symfony',
    files: {
      'symfony.lock': '{}',
      'composer.json': '{"require":{"php":">=8.2","symfony/framework-bundle":"7.*"}}',
      'public/index.php': '',
    },
    expected: { title: ['Symfony', 'Composer', 'PHP 8.4'], env: { APP_ENV: 'prod' } },
  },
  {
    name: 'a library without an index.php',
    files: { 'composer.json': '{}' },
    expected: { error: /no index\.php is there to serve/ },
  },
  {
    name: 'a composer.json that is none',
    files: { 'composer.json': '{', 'index.php': '' },
    expected: { error: /composer\.json is not valid/ },
  },
];

const rust: readonly Repository[] = [
  {
    name: 'a Cargo package',
    files: { 'Cargo.toml': cargo('hello'), 'Cargo.lock': '', 'src/main.rs': '' },
    expected: {
      images: ['rust:1-slim-bookworm', 'scratch'],
      commands: [
        'build the dependencies',
        'find . -name *.rs -not -path ./target/* -exec touch {} +',
        'cargo build --release --locked --package hello --bin hello',
        'take the program',
        'collect its libraries',
      ],
      start: './.holdfast-app/app',
    },
  },
  {
    name: 'a Cargo workspace with a server',
    files: {
      'Cargo.toml': '[workspace]\nmembers = ["crates/*"]\n',
      'crates/lib/Cargo.toml': cargo('lib'),
      'crates/lib/src/lib.rs': '',
      'crates/server/Cargo.toml': cargo('server'),
      'crates/server/src/main.rs': '',
      'crates/cli/Cargo.toml': cargo('cli'),
      'crates/cli/src/main.rs': '',
    },
    expected: {
      start: '../../.holdfast-app/app',
      manifests: ['Cargo.toml', 'crates/cli/Cargo.toml', 'crates/lib/Cargo.toml', 'crates/server/Cargo.toml'],
    },
  },
  {
    name: 'a toolchain file, and OpenSSL',
    files: {
      'rust-toolchain.toml': '[toolchain]\nchannel = "1.82.0"\n',
      'Cargo.toml': cargo('x', '[dependencies]\naxum = "0.7"\n'),
      'Cargo.lock': '[[package]]\nname = "openssl-sys"\n',
      'src/main.rs': '',
    },
    expected: {
      title: ['axum', 'Rust 1.82.0'],
      images: ['rust:1.82.0-slim-bookworm', 'scratch'],
      packages: [['pkg-config', 'libssl-dev'], []],
    },
  },
  {
    name: 'Rocket',
    files: { 'Cargo.toml': cargo('x', '[dependencies]\nrocket = "0.5"\n'), 'src/main.rs': '', 'templates/a.html': '' },
    expected: {
      images: ['rust:1-slim-bookworm', 'debian:bookworm-slim'],
      start: 'ROCKET_PORT="$PORT" exec ./.holdfast-app/app',
    },
  },
  {
    name: 'several programs of one package',
    files: { 'Cargo.toml': cargo('x'), 'src/bin/a.rs': '', 'src/bin/b.rs': '' },
    expected: { error: /several programs \(a, b\): set `default-run`/ },
  },
  {
    name: 'Trunk',
    files: { 'Trunk.toml': '', 'Cargo.toml': cargo('x'), 'src/main.rs': '' },
    expected: { error: /Trunk builds for WebAssembly/ },
  },
  {
    name: 'a Rust library',
    files: { 'Cargo.toml': cargo('x'), 'src/lib.rs': '' },
    expected: { error: /no package of Cargo\.toml makes a program/ },
  },
];

export const languageRepositories: readonly Repository[] = [...ruby, ...java, ...php, ...rust];
